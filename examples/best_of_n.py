"""Picks the best of several responses to one prompt with an image.

python examples/best_of_n.py runs/demo/model
"""

import sys

from PIL import Image, ImageDraw

from basereward import RewardModel


def main(model_folder: str) -> None:
    """Score four answers about a drawn red circle and print them, best first."""
    scene = Image.new("RGB", (56, 56), (30, 30, 30))
    ImageDraw.Draw(scene).ellipse((4, 4, 24, 24), fill=(220, 40, 40))
    responses = ["red", "blue", "green", "yellow"]
    model = RewardModel.from_pretrained(model_folder, device="cpu")
    rewards = model.score("What color is the object?", images=[scene], responses=responses)
    for reward, response in sorted(zip(rewards, responses, strict=True), reverse=True):
        print(f"{reward:+.3f}  {response}")


if __name__ == "__main__":
    main(sys.argv[1])
