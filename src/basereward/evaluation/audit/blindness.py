"""Does it look, and does it read? Accuracy without the images, with those of others, and without the prompt."""

from random import Random
from typing import Any

from PIL import Image

from basereward.benchmarks.items import BenchmarkItem
from basereward.data.images import image_size
from basereward.data.schema import Message, Messages, Part
from basereward.errors import DataError
from basereward.evaluation.audit.edits import change_images, change_prompt, has_images
from basereward.evaluation.audit.measures import accuracy_drop
from basereward.evaluation.audit.probe import NO_IMAGES, Changed, Probe, each_item, needs_sight
from basereward.evaluation.audit.sets import AuditSet
from basereward.evaluation.blind import ExchangedItems, exchange_images

GREY = (128, 128, 128)
BLANK = "..."


def grey_image(image: Any) -> Image.Image:
    """Return a grey image of the same size, so that as many visual tokens are computed.

    Raises:
        RowError: the image cannot be read.
    """
    return Image.new("RGB", image_size(image), GREY)


def _blind(item: BenchmarkItem, generator: Random) -> BenchmarkItem:
    return change_images(item, grey_image)


def _swap(asked: AuditSet) -> Changed:
    try:
        exchange = exchange_images(asked.facts, asked.usable, asked.seed)
    except DataError:
        return Changed((), asked.items.__getitem__)
    return Changed(sorted(exchange.givers), ExchangedItems(asked.items, exchange).__getitem__)


def _blank_prompt(item: BenchmarkItem, generator: Random) -> BenchmarkItem:
    def blank(prompt: Messages) -> Messages:
        *before, last = prompt
        others = [part for part in last.content if part.type != "text"]
        return (*before, Message(last.role, (*others, Part("text", BLANK))))

    return change_prompt(item, blank)


PROBES = (
    Probe(
        "image_blind",
        "looks and reads",
        "How much accuracy is lost when every image is grey?",
        accuracy_drop,
        each_item(_blind, has_images),
        unsuited=needs_sight,
        nothing=NO_IMAGES,
    ),
    Probe(
        "image_swap",
        "looks and reads",
        "How much accuracy is lost when the images are those of other items?",
        accuracy_drop,
        _swap,
        unsuited=needs_sight,
        nothing="no two items show as many images or videos, but different ones",
    ),
    Probe(
        "prompt_blind",
        "looks and reads",
        f"How much accuracy is lost when the last message of the prompt says {BLANK!r}?",
        accuracy_drop,
        each_item(_blank_prompt),
    ),
)
