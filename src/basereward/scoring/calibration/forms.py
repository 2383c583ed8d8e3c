"""What a reward may follow instead of quality: length, markup and images, none of which depends on a tokenizer."""

import re
from collections.abc import Sequence
from math import log1p
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from basereward.data.images import image_size
from basereward.data.outcomes import Failure
from basereward.data.schema import ResponseGroup, count_parts
from basereward.errors import RowError

Feature = Literal["length", "lists", "headings", "bold", "code"]
FEATURES: tuple[Feature, ...] = ("length", "lists", "headings", "bold", "code")
FORMAT: tuple[Feature, ...] = FEATURES[1:]
# Each finds its form in linear time, whatever the text.
_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*+\u2022]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+\S", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)


class GroupForm(NamedTuple):
    """The form of the responses of a group, and what their prompt shows.

    Args:
        features: of each response, in the order of ``FEATURES``.
        visual: ``log(1 + pixels)`` of the images and frames of the prompt, 0 without any.
        shows: whether the prompt shows images or videos.
    """

    features: Float[np.ndarray, "responses features"]
    visual: float
    shows: bool

    def take(self, places: Sequence[int]) -> "GroupForm":
        """Return the form of some of the responses."""
        return self._replace(features=self.features[list(places)])


def text_features(text: str) -> tuple[float, ...]:
    """Return ``log(1 + n)`` of a text's characters, list items, headings, bold passages and blocks of code."""
    counts = (
        len(text),
        len(_LIST_ITEM.findall(text)),
        len(_HEADING.findall(text)),
        text.count("**") // 2,
        # A block that is not closed is one, too.
        (len(_FENCE.findall(text)) + 1) // 2,
    )
    return tuple(map(log1p, counts))


def read_form(group: ResponseGroup, looks: bool = True) -> GroupForm | Failure:
    """Return the form of a group; a failure if the size of an image cannot be read.

    Args:
        looks: read the sizes of images; else ``visual`` is 0.
    """
    rows = [text_features(response.text) for response in group.responses]
    features = np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURES))
    # Not the images of responses: what is the same for all of them changes no order within a prompt.
    shows = count_parts(group.prompt, "image") + count_parts(group.prompt, "video") > 0
    try:
        visual = log1p(_prompt_pixels(group)) if looks else 0.0
    except RowError as error:
        return Failure(error.reason, str(error))
    return GroupForm(features, visual, shows)


def _prompt_pixels(group: ResponseGroup) -> int:
    """Return the pixels of the prompt; those of responses, which may differ within a group, are not of it."""
    images = group.images[: count_parts(group.prompt, "image")]
    videos = group.videos[: count_parts(group.prompt, "video")]
    # The frames of a video share one size.
    shown = [(image, 1) for image in images] + [(video.frames[0], len(video.frames)) for video in videos]
    return sum(times * size.width * size.height for size, times in ((image_size(one), times) for one, times in shown))
