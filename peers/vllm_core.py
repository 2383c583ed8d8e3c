"""basereward's side of the comparison with vLLM: writes checkpoints, conversations and their rewards.

    python vllm_core.py FOLDER FAMILY...

FOLDER holds ``heads.json``. For each family are written, in a folder of its own, ``HEAD/`` (a checkpoint or an exported
classifier), ``HEAD.json`` (rewards) and ``cases.json`` (conversations with images as files, and their text in the
model's template).
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2Config, Qwen2ForCausalLM

from basereward.lab.backbone import write_backbone
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.export import export_classifier
from basereward.models.head import HeadSettings

# Sides of images: whole patches, and ones that the processor has to resize.
SIZES = ((56, 56), (112, 84), (100, 75), (61, 190))
TEXTS = ("Yes.", "No, it is not.", "I see a red circle and two blue squares; the circle is left of both.", "7")


def make_cases(folder: Path, sees: bool) -> list[dict[str, Any]]:
    """Return conversations with and without images, of one turn and of several, as messages of parts."""
    draw = np.random.default_rng(0)
    images = []
    for number, size in enumerate(SIZES if sees else ()):
        path = folder / f"image-{number}.png"
        pixels = draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        images.append(str(path))
    prompts = [[_user([], "Is 7 a prime number?")], [_user([], "Hello."), _assistant("Hi!"), _user([], "Count to 3.")]]
    shown: list[list[str]] = [[], []]
    for image in images:
        prompts.append([_user([image], "What do you see?")])
        shown.append([image])
    if images:
        prompts.append([_user(images[:2], "Same color?")])
        prompts.append([_user(images[2:3], "And this?"), _assistant("A square."), _user(images[3:], "Why?")])
        shown += [images[:2], images[2:]]
    return [
        {"prompt": prompt, "images": own, "responses": list(TEXTS)} for prompt, own in zip(prompts, shown, strict=True)
    ]


def _user(images: list[str], text: str) -> dict[str, Any]:
    return {"role": "user", "content": [*({"type": "image"} for _ in images), {"type": "text", "text": text}]}


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def make_backbone(family: str, folder: Path) -> Path:
    """Write a backbone with random weights; Qwen2 is as large as the Qwen3 whose tokenizer it takes."""
    if family != "qwen2":
        return write_backbone(folder, family, "demo")  # type: ignore[arg-type]
    write_backbone(folder, "qwen3", "demo")
    stored = json.loads((folder / "config.json").read_text())
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    names += ("num_key_value_heads", "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id")
    config = Qwen2Config(**{name: stored[name] for name in names if name in stored}, max_position_embeddings=4096)
    for old in folder.glob("*.safetensors"):
        old.unlink()
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def main(work: Path, families: list[str]) -> None:
    """Write everything for some families."""
    heads = json.loads((work / "heads.json").read_text())
    for family in families:
        write_family(work / family, family, heads)


def write_family(folder: Path, family: str, heads: dict[str, Any]) -> None:
    """Write everything for one family."""
    folder.mkdir()
    backbone = make_backbone(family, folder / "backbone")
    cases = make_cases(folder, sees="vl" in family)
    for name, settings in heads.items():
        torch.manual_seed(1)
        model = new_reward_model(backbone, HeadSettings(**settings)).eval()
        for layer in model.head.layers:
            # Far from zero and from each other.
            torch.nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            if layer.bias is not None:
                torch.nn.init.normal_(layer.bias)
        own = save_reward_model(model, folder / (f"{name}-own" if name == "classifier" else name))
        if name == "classifier":
            export_classifier(own, folder / name)
        scorer = load_reward_model(own).eval()
        rewards = [
            reward for case in cases for reward in scorer.score(case["prompt"], case["images"], case["responses"])
        ]
        (folder / f"{name}.json").write_text(json.dumps(rewards))
    is_flat = "vl" not in family
    for case in cases:
        conversations = [[*case["prompt"], _assistant(text)] for text in case["responses"]]
        case["conversations"] = conversations
        case["rendered"] = [_render(model.template, conversation, is_flat) for conversation in conversations]
    (folder / "cases.json").write_text(json.dumps(cases))


def _render(template: Any, conversation: list[dict[str, Any]], is_flat: bool) -> str:
    messages = [
        {**message, "content": message["content"][-1]["text"] if is_flat else message["content"]}
        for message in conversation
    ]
    return template.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
