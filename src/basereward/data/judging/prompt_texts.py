"""Prompts that stand in files: a text with a place for the request and for every response, and how it is answered."""

import hashlib
import logging
import re
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import PositiveInt

from basereward.configuration import Section, parse_overrides
from basereward.data.judging.official import OFFICIAL, OfficialPrompt, official_text
from basereward.errors import DataError, MissingFileError, UnknownNameError
from basereward.registry import close_names

FIRST_LINE = "format=NAME[,images=first][,max_tokens=N]"
_SLOT = re.compile(r"\{(request|response(?:_\d+)?)\}")
_log = logging.getLogger(__name__)


class PromptText(NamedTuple):
    """A prompt of a file.

    Args:
        name: what results call it.
        text: with ``{request}`` and ``{response_1}``, ``{response_2}``, ... in this order, or ``{response}`` alone.
        form: of the verdict of a judge, or of the rating of a critic.
        is_media_first: images and videos stand before the text, not where they are in request and responses.
        max_tokens: the longest answer, None if the file does not say.
    """

    name: str
    text: str
    form: str
    is_media_first: bool = False
    max_tokens: int | None = None

    @property
    def responses(self) -> int:
        """The number of responses that the text has places for."""
        return len(_SLOT.findall(self.text)) - 1

    @property
    def sha256(self) -> str:
        """The digest of the text, places included."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def pieces(self) -> list[str]:
        """Text and names of places in turn, a text first and last."""
        return _SLOT.split(self.text)


class TextOptions(Section):
    """The first line of a prompt file."""

    format: str
    """How the answer ends: a verdict of a judge, or a rating of a critic."""
    images: Literal["request", "first"] = "request"
    """Where images and videos stand: where they are in the request, or before all text."""
    max_tokens: PositiveInt | None = None
    """The longest answer."""


def read_prompt_text(given: str, known: list[str]) -> PromptText:
    """Return the prompt of a file, or of another project's file: ``FILE`` or ``PROJECT=FILE``.

    Args:
        known: names of prompts that need no file, for messages.

    Raises:
        UnknownNameError: neither a file nor a project's prompt; the message lists close matches.
        MissingFileError: no such file; of a project's prompt it says where its file is and how it is brought.
        DataError: the file is no prompt.
    """
    name, sign, file = given.partition("=")
    if sign and name in OFFICIAL.names():
        return _read_official(OFFICIAL.get(name), Path(file))
    if given in OFFICIAL.names():
        raise MissingFileError(OFFICIAL.get(given).where)
    if Path(given).is_file():
        return _read_own(Path(given))
    if "/" in given or Path(given).suffix:
        raise MissingFileError(
            f"There is no prompt file {given!r}; expected a text file that begins with {FIRST_LINE}."
        )
    hint = close_names(given, [*known, *OFFICIAL.names()])
    raise UnknownNameError(
        f"Unknown judge prompt {given!r}.{hint} Known: {', '.join(known)}; with the file of its project: "
        f"{', '.join(f'{one}=FILE' for one in OFFICIAL.names())}; or a prompt file."
    )


def _read_own(path: Path) -> PromptText:
    first, _, text = _read(path).partition("\n")
    if not first.startswith("format="):
        raise DataError(f"{path} begins with {first[:60]!r}; expected {FIRST_LINE}, and the prompt from line 2 on.")
    options = parse_overrides(TextOptions, first.strip().split(","))
    found = PromptText(path.name, text, options.format, options.images == "first", options.max_tokens)
    _check(found, path)
    return found._replace(name=f"{path.name} ({found.sha256[:12]})")


def _read_official(prompt: OfficialPrompt, path: Path) -> PromptText:
    if not path.is_file():
        raise MissingFileError(f"There is no file {str(path)!r}. {prompt.where}")
    text = official_text(prompt, _read(path))
    found = PromptText(prompt.name, text, prompt.form, prompt.is_media_first, prompt.max_tokens)
    _check(found, path, f" {prompt.where}")
    if found.sha256 == prompt.sha256:
        return found._replace(name=f"{prompt.name} (official)")
    _log.warning("%s is not the official text of %s; results say %s.", path, prompt.name, found.sha256[:12])
    return found._replace(name=f"{prompt.name} ({found.sha256[:12]})")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error.reason}); a prompt is one.") from error


def _check(found: PromptText, path: Path, hint: str = "") -> None:
    """Check the places of a text.

    Raises:
        DataError: one is missing, twice there or out of order: images of responses follow those of the request.
    """
    places, count = _SLOT.findall(found.text), found.responses
    expected = ["request", *(["response"] if count == 1 else [f"response_{place + 1}" for place in range(count)])]
    if count < 1 or places != expected:
        raise DataError(
            f"{path} has the places {', '.join(places) or 'none'}; expected {{request}}, then {{response_1}}, "
            f"{{response_2}} and so on, or {{response}} alone for a critic, each once.{hint}"
        )
