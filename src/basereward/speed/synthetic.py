"""Synthetic preference pairs of about 1 kB, with copies of known kinds planted among them, and small pictures."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

VOCABULARY = 30_000
PROMPT_WORDS, RESPONSE_WORDS = 30, 84
# Share of words that an edited copy changes: replaces, leaves out or adds, each in its turn.
EDITED = 0.1
# The last rows of every hundred are made from the row 50 in front of them. A sibling has the prompt and the chosen
# response of its original, and another rejected one: it is no copy.
BLOCK, BACK = 100, 50
KINDS = {93: "exact", 94: "normalised", 95: "edited", 96: "edited", 97: "paraphrase", 98: "sibling", 99: "sibling"}
IMAGE_KINDS = {"exact": "exact", "normalised": "half", "edited": "double"}
# Of the items of a benchmark, every so many has the prompt of a pair.
LEAK_EVERY = 20
# Sides of a noise of which photographs are cut, as large in bytes as those of a camera are for their pixels.
_NOISE, _PHOTO = 1024, 180
Words = list[np.ndarray]


def kind_of(number: int) -> str:
    """Return what row ``number`` is: ``original`` or one of ``KINDS``."""
    return KINDS.get(number % BLOCK, "original")


def synthetic_row(number: int) -> dict[str, Any]:
    """Return a canonical pair; it depends on its number alone."""
    kind = kind_of(number)
    generator = np.random.default_rng((0, number))
    if kind == "original":
        texts = _join(_draw(generator))
    else:
        words = _draw(np.random.default_rng((0, number - BACK)))
        texts = _copy(kind, words, generator)
    return {"id": f"{number}", "source": "synthetic", **dict(zip(("prompt", "chosen", "rejected"), texts, strict=True))}


def leaked_row(place: int) -> int | None:
    """Return the row whose prompt item ``place`` of a benchmark has: an original without copies; None for most."""
    return None if place % LEAK_EVERY else place // LEAK_EVERY * BLOCK


def question(place: int) -> str:
    """Return a prompt that no pair has."""
    return _join(_draw(np.random.default_rng((1, place))))[0]


def image_kind_of(number: int) -> str:
    """Return what the image of row ``number`` is: ``original`` or a value of ``IMAGE_KINDS``."""
    return IMAGE_KINDS.get(kind_of(number), "original")


def image_row(number: int) -> dict[str, Any]:
    """Return a pair with the text of all such rows and a small JPEG; ``half`` and ``double`` are resized copies."""
    kind = image_kind_of(number)
    image = picture(number if kind == "original" else number - BACK)
    factor, quality = {"half": (0.5, 75), "double": (2, 50)}.get(kind, (1, 90))
    side = int(factor * image.width)
    parts = [{"type": "image"}, {"type": "text", "text": "Is there a dog in the picture?"}]
    return {
        "id": f"{number}",
        "source": "synthetic",
        "images": [{"bytes": _encode(image.resize((side, side)), quality), "path": None}],
        "prompt": [{"role": "user", "content": parts}],
        "chosen": "Yes, there is.",
        "rejected": "No, there is none.",
    }


def picture(number: int, side: int = 224) -> Image.Image:
    """Return a picture of smooth colours, as varied in them as a photograph."""
    noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def _encode(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _draw(generator: np.random.Generator) -> Words:
    """Return the word numbers of prompt, chosen and rejected; both responses open with a common phrase."""
    sizes = generator.poisson((PROMPT_WORDS, RESPONSE_WORDS, RESPONSE_WORDS)) + 1
    # Frequencies fall as one over the rank, as those of words do.
    drawn = (VOCABULARY ** generator.random(int(sizes.sum()))).astype(np.int64) - 1
    prompt, chosen, rejected = np.split(drawn, np.cumsum(sizes)[:-1])
    opening = np.arange(6) + 6 * generator.integers(8)
    return [prompt, np.concatenate([opening, chosen]), np.concatenate([opening, rejected])]


def _copy(kind: str, words: Words, generator: np.random.Generator) -> list[str]:
    if kind == "edited":
        return _join(_edit(words, generator))
    if kind == "paraphrase":
        return _join([_paraphrase(own, generator) for own in words])
    if kind == "sibling":
        return _join([words[0], words[1], _draw(generator)[2]])
    texts = _join(words)
    return texts if kind == "exact" else [f"  {text.upper().replace(' ', ', ')} !\n" for text in texts]


def _edit(words: Words, generator: np.random.Generator) -> Words:
    """Change ``EDITED`` of all words, wherever they are."""
    sizes = [len(own) for own in words]
    part = np.repeat(np.arange(3), sizes)
    places = generator.permutation(len(part))[: int(EDITED * len(part))]
    joined = list(np.concatenate(words))
    for turn, place in enumerate(places.tolist()):
        new = int(generator.integers(VOCABULARY))
        joined[place] = ([new], [], [joined[place], new])[turn % 3]
    return [
        np.concatenate(
            [np.atleast_1d(np.array(joined[place], dtype=np.int64)) for place in np.flatnonzero(part == own)]
        )
        for own in range(3)
    ]


def _paraphrase(words: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Replace two words in five by the word that means the same, and say the second half first."""
    changed = np.where(generator.random(len(words)) < 0.4, (words + VOCABULARY // 2) % VOCABULARY, words)
    return np.roll(changed, len(words) // 2)


def _join(words: Words) -> list[str]:
    vocabulary = _vocabulary()
    return [" ".join(vocabulary[place] for place in own.tolist()) for own in words]


@lru_cache(maxsize=1)
def _vocabulary() -> list[str]:
    """Return distinct words of 2 to 10 letters, the frequent ones short."""
    letters, words = "etaoinshrdlucmfwypvbgk", dict[str, None]()
    generator = np.random.default_rng(0)
    while len(words) < VOCABULARY:
        size = 2 + min(len(words) // 200, int(generator.integers(1, 9)))
        words["".join(letters[place] for place in generator.integers(len(letters), size=size).tolist())] = None
    return list(words)


def photo_row(number: int) -> dict[str, Any]:
    """Return a pair of ``synthetic_row`` about a JPEG of about 30 kB that no other pair has."""
    row = synthetic_row(number)
    parts = [{"type": "image"}, {"type": "text", "text": row["prompt"]}]
    y, x = divmod(number, _NOISE - _PHOTO)
    shown = _noise()[y : y + _PHOTO, x : x + _PHOTO]
    image = {"bytes": _encode(Image.fromarray(shown), 90), "path": None}
    return {**row, "images": [image], "prompt": [{"role": "user", "content": parts}]}


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (_NOISE, _NOISE, 3), dtype=np.uint8)
