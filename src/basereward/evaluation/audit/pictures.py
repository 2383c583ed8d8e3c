"""Does the way an image is stored change a ranking? Smaller, cut at its edges, and as JPEG."""

import io
from collections.abc import Callable
from random import Random
from typing import Any

from PIL import Image

from basereward.benchmarks.items import BenchmarkItem
from basereward.data.images import load_image
from basereward.evaluation.audit.edits import change_images, has_images
from basereward.evaluation.audit.measures import changed_rankings
from basereward.evaluation.audit.probe import NO_IMAGES, Prepare, Probe, each_item, needs_sight

SCALE, CUT, QUALITY = 0.9, 0.03, 75


def resize_image(image: Any) -> Image.Image:
    """Return an image with 90 % of its width and height."""
    pixels = load_image(image)
    return pixels.resize((max(1, round(SCALE * pixels.width)), max(1, round(SCALE * pixels.height))))


def crop_image(image: Any) -> Image.Image:
    """Return an image without 3 % of its width and height at each side, at least one pixel."""
    pixels = load_image(image)
    left, top = (max(1, round(CUT * side)) for side in pixels.size)
    if min(pixels.width - 2 * left, pixels.height - 2 * top) < 1:
        return pixels
    return pixels.crop((left, top, pixels.width - left, pixels.height - top))


def compress_image(image: Any) -> Image.Image:
    """Return an image as it comes back from a JPEG file of quality 75."""
    file = io.BytesIO()
    load_image(image).save(file, "JPEG", quality=QUALITY)
    return load_image(file.getvalue())


def _each_image(change: Callable[[Any], Any]) -> Prepare:
    def change_item(item: BenchmarkItem, generator: Random) -> BenchmarkItem:
        return change_images(item, change)

    return each_item(change_item, has_images)


PROBES = tuple(
    Probe(
        name, "same ranking", question, changed_rankings, _each_image(change), unsuited=needs_sight, nothing=NO_IMAGES
    )
    for name, change, question in (
        ("resize", resize_image, "How many rankings change when images have 90 % of their width and height?"),
        ("crop", crop_image, "How many rankings change when 3 % is cut off each side of the images?"),
        ("jpeg", compress_image, "How many rankings change when images are stored as JPEG of quality 75?"),
    )
)
