"""Pairs that share prompts and images as preference data does, as codes and sizes alone."""

import numpy as np

from basereward.encoding.packing import CostModel
from basereward.encoding.sharing import PairSharing

# Attention and vision shares of a 7B model.
MODEL = CostModel(attention=1.5e-5, image=0.35)


def made_pairs(images: int, seed: int = 0, of_prompt: float = 3.0, of_image: float = 2.5) -> PairSharing:
    """Pairs in random order: of_prompt a prompt and of_image prompts an image in the mean, and a fifth of text alone.

    A prompt with an image of 1,024 tokens is 1,200 long and has four responses of 200 +-30 %; each prompt of text is
    300 long and has one pair of responses of 300 +-30 %.
    """
    random = np.random.default_rng(seed)
    shown = np.repeat(np.arange(images), random.poisson(of_image - 1, images) + 1)
    counts = random.poisson(of_prompt - 1, len(shown)) + 1
    texts = int(counts.sum()) // 4
    image = np.concatenate([shown, np.full(texts, -1)])
    prompt = np.repeat(np.arange(len(image)), np.concatenate([counts, np.ones(texts, dtype=int)]))
    first = random.integers(0, 4, len(prompt))
    sides = np.stack([first, (first + random.integers(1, 4, len(prompt))) % 4], axis=1)
    is_text = image < 0
    sizes = (random.uniform(0.7, 1.3, (len(image), 4)) * np.where(is_text, 300, 200)[:, None]).astype(int)
    asked = np.where(is_text, 300, 1200)[prompt]
    order = random.permutation(len(prompt))
    shows = ~is_text[prompt]
    everything = PairSharing(
        image[prompt],
        prompt,
        sides,
        1026 * shows,
        asked,
        asked[:, None] + np.take_along_axis(sizes[prompt], sides, axis=1),
        1024 * shows,
    )
    return PairSharing(*(values[order] for values in everything))


def coded_pairs(prompts: list[int], images: list[int] | None = None, sides: list[tuple[int, int]] | None = None):
    """Pairs with these codes, all of one size."""
    count = len(prompts)
    shown = np.array(images or [-1] * count)
    opened = np.where(shown >= 0, 100, 0)
    return PairSharing(
        shown,
        np.array(prompts),
        np.array(sides or [(2 * place, 2 * place + 1) for place in range(count)]),
        opened,
        opened + 20,
        np.tile(opened[:, None] + 30, 2),
        opened,
    )
