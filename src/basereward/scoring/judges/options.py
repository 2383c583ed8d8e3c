"""How a judge runs, beside what it is asked: sampling, patience, and how much at once."""

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from basereward.configuration import Section, parse_overrides

# What a model in this process takes, and what a server does.
LOCAL_OPTIONS = frozenset({"max_completion_tokens", "temperature", "seed", "samples", "batch_tokens"})
SERVER_OPTIONS = frozenset(
    {"max_completion_tokens", "temperature", "seed", "samples", "timeout", "attempts", "concurrency"}
)


class JudgeOptions(Section):
    """Options of a judge; of ``temperature`` and ``seed``, ``null`` sends none, for servers that refuse them."""

    max_completion_tokens: PositiveInt | None = None
    """The longest answer, sent under this name, which OpenAI's reasoning models want, instead of ``max_tokens``."""
    temperature: NonNegativeFloat | None = 0.0
    """Greedy if 0."""
    seed: int | None = 0
    """Of the draws."""
    samples: PositiveInt = 1
    """How many answers to a question vote; each is a request of its own to a server."""
    timeout: PositiveFloat = 600.0
    """Seconds of a server's silence after which an attempt is given up."""
    attempts: PositiveInt = 5
    """How often a question is sent at most while the server's answer is temporary."""
    concurrency: PositiveInt = 16
    """Questions that a server is sent at once."""
    batch_tokens: PositiveInt = 32768
    """Tokens, answers included, that a model in this process holds at once."""


def parse_options(text: str | None) -> JudgeOptions:
    """Return the options of ``name=value,name=value``.

    Raises:
        RecipeError: an unknown name (the message names close ones), a value of the wrong kind, or no ``=``.
    """
    return parse_overrides(JudgeOptions, text.split(",") if text else [])
