"""Requests of given lengths for a server: words that a tokenizer knows, and pictures."""

import base64
import io
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from basereward.data.schema import ResponseGroup
from basereward.encoding.template import Template
from basereward.errors import RecipeError
from basereward.serving.fetching import Fetcher
from basereward.serving.forms import parse_body
from basereward.serving.records import RequestReader
from basereward.serving.settings import RequestLimits
from basereward.serving.wire import ScoreRequest
from basereward.speed.synthetic import picture

# What a template writes around the texts of a prompt, about.
_FRAME_TOKENS = 16
_PIXELS = 28


class Request(NamedTuple):
    """A prompt with its responses, as a client sends them."""

    messages: list[dict[str, Any]]
    responses: list[str]

    @property
    def body(self) -> bytes:
        """All responses in one group."""
        return json.dumps({"groups": [{"messages": self.messages, "responses": self.responses}]}).encode()

    @property
    def singles(self) -> list[bytes]:
        """A body for each response alone."""
        return [Request(self.messages, [response]).body for response in self.responses]


class Writer:
    """Writes requests whose lengths are known in tokens, about.

    Args:
        template: of the model; words are those that its tokenizer has a token for.

    Raises:
        RecipeError: the tokenizer has too few such words.
    """

    def __init__(self, template: Template) -> None:
        tokenizer = template.tokenizer
        decoded = tokenizer.batch_decode([[number] for number in range(len(tokenizer))])
        self._words = [text for text in decoded if text[:1] == " " and text[1:].isalpha() and text.isascii()]
        if len(self._words) < 50:
            raise RecipeError(f"The tokenizer has {len(self._words)} words of one token, too few to write texts of.")

    def write(self, number: int, prompt: int, responses: Sequence[int], image_side: int = 0) -> Request:
        """Return request ``number``; it depends on its number and lengths alone.

        Args:
            prompt: tokens of the prompt, its image included.
            responses: tokens of each response.
            image_side: of the image, in tokens; 0 for none.
        """
        draw = np.random.default_rng((2, number))
        text = self._text(draw, max(1, prompt - image_side**2 - _FRAME_TOKENS))
        parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if image_side:
            parts.insert(0, {"type": "image_url", "image_url": {"url": _address(number, image_side * _PIXELS)}})
        return Request([{"role": "user", "content": parts}], [self._text(draw, size) for size in responses])

    def _text(self, draw: np.random.Generator, words: int) -> str:
        return "".join(self._words[place] for place in draw.integers(len(self._words), size=words).tolist()).strip()


def read_requests(bodies: Sequence[bytes]) -> list[ResponseGroup]:
    """Return the groups of bodies of one group each, as the server reads them.

    Raises:
        RecipeError: one of them cannot be read.
    """
    limits = RequestLimits()
    reader = RequestReader(limits, Fetcher((), limits.max_image_bytes))
    groups = [group for body in bodies for group in reader.groups(parse_body(ScoreRequest, body).groups)]
    broken = [group for group in groups if not isinstance(group, ResponseGroup)]
    if broken:
        raise RecipeError(f"A request that was written cannot be read: {broken[0]}.")
    return [group for group in groups if isinstance(group, ResponseGroup)]


def _address(number: int, side: int) -> str:
    file = io.BytesIO()
    picture(number, side).save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
