"""Hashes of images: equal pixels, the same picture in another file, and pictures that are not the same."""

import io
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from basereward.curation.fingerprints.image import (
    MAX_DISTANCE,
    NO_HASH,
    exact_hash,
    hash_image,
    near_hashes,
    perceptual_hash,
)


def picture(seed: int, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """Soft shapes of many colours, a little like a photograph."""
    rng = Random(seed)
    image = Image.new("RGB", (24, 18), tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.randrange(24), rng.randrange(18)
        box = (x, y, x + rng.randrange(2, 12), y + rng.randrange(2, 9))
        draw.ellipse(box, fill=tuple(rng.randrange(256) for _ in range(3)))
    return image.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def test_equal_pixels_have_equal_hashes_in_any_file() -> None:
    image, buffer = picture(0), io.BytesIO()
    image.save(buffer, "PNG")
    assert hash_image(Image.open(buffer).convert("RGB")) == hash_image(image)
    changed = image.copy()
    changed.putpixel((0, 0), (1, 2, 3))
    assert exact_hash(changed) != exact_hash(image)
    assert exact_hash(image.resize((180, 240))) != exact_hash(image)


@pytest.mark.parametrize("change", ["jpeg90", "jpeg50", "half", "double", "thumbnail"])
def test_a_picture_is_found_in_another_encoding_or_size(change: str) -> None:
    changes = {
        "jpeg90": lambda image: encoded(image, 90),
        "jpeg50": lambda image: encoded(image, 50),
        "half": lambda image: image.resize((120, 90)),
        "double": lambda image: image.resize((480, 360)),
        "thumbnail": lambda image: encoded(image.resize((100, 75)), 75),
    }
    images = [picture(seed) for seed in range(200)]
    known = np.array([perceptual_hash(image) for image in images], dtype=np.uint64)
    asked = np.array([perceptual_hash(changes[change](image)) for image in images], dtype=np.uint64)
    found = near_hashes(asked, known)
    right = found.queries == found.entries
    assert right.sum() >= 0.95 * len(images)
    assert right.mean() >= 0.99


def test_flat_images_are_near_nothing() -> None:
    flat = [Image.new("RGB", (64, 64), (shade,) * 3) for shade in (0, 128, 255)]
    hashes = np.array([perceptual_hash(image) for image in flat], dtype=np.uint64)
    assert hashes.tolist() == [NO_HASH] * 3
    assert len(near_hashes(hashes, hashes).queries) == 0
    assert len({exact_hash(image) for image in flat}) == 3


def test_distance_counts_bits() -> None:
    index = np.array([0xFFFF], dtype=np.uint64)
    queries = np.array([0xFFFF ^ (2**bits - 1) for bits in range(10)], dtype=np.uint64)
    assert near_hashes(queries, index).queries.tolist() == list(range(MAX_DISTANCE + 1))
    assert len(near_hashes(queries, index[:0]).queries) == 0


@pytest.mark.parametrize("distance", [0, 1, 6, 12])
def test_all_near_hashes_are_found(distance: int) -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, 2**64, 300, dtype=np.uint64)
    index[7], index[9] = NO_HASH, index[8]
    flips = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, (600, 8), dtype=np.uint64), axis=1)
    queries = np.concatenate([index[rng.integers(0, 300, 600)] ^ flips, index])
    # Every pair compared, the plain way.
    is_near = np.bitwise_count(queries[:, None] ^ index[None, :]) <= distance
    is_near &= (queries != NO_HASH)[:, None] & (index != NO_HASH)[None, :]
    expected = np.nonzero(is_near)
    found = near_hashes(queries, index, distance)
    assert found.queries.tolist() == expected[0].tolist()
    assert found.entries.tolist() == expected[1].tolist()
