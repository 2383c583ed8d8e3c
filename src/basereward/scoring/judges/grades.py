"""How likely a judge's verdict was: the probabilities of the tokens that name the responses, where it names one."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from basereward.data.judging.formats import VerdictFormat, after_thoughts
from basereward.data.outcomes import Verdict
from basereward.data.schema import messages_from_text
from basereward.encoding.template import Template
from basereward.encoding.tree import common_length
from basereward.errors import TemplateError


def verdict_tokens(template: Template, form: VerdictFormat, responses: int) -> tuple[int, ...]:
    """Return the token that names each response, read off whole answers; none if no single token tells them apart."""
    asked = messages_from_text("?")
    answers = [messages_from_text(form.write("", place), "assistant") for place in range(responses)]
    try:
        whole = [template.conversation_ids(asked + answer) for answer in answers]
    except TemplateError:
        return ()
    first = common_length(whole)
    tokens = {int(ids[first]): place for place, ids in enumerate(whole) if first < len(ids)}
    return tuple(tokens) if len(tokens) == responses else ()


def verdict_place(
    form: VerdictFormat, tokens: Sequence[int], ids: Sequence[int], decode: Callable[[Sequence[int]], str]
) -> int | None:
    """Return the place of the token on which an answer's verdict hangs: another one there names another response.

    A digit is asked for at once, so there its place is the first whatever the answer says, also of a judge that was
    never trained to answer so; a thought in front, such as the empty one that some templates teach, is passed over.

    Args:
        tokens: name the responses, in order.
        ids: of the answer.
    """
    for place in reversed(range(len(ids))):
        if ids[place] in tokens:
            told = [form.read(decode([*ids[:place], token, *ids[place + 1 :]]), len(tokens)).choice for token in tokens]
            if told == list(range(len(tokens))):
                return place
    return _first_said(ids, decode) if form.name == "digit" else None


def _first_said(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int | None:
    """Return the place of the first token, or if that begins a thought, of the first word behind it."""
    if "<think>" not in decode(ids[:1]):
        return 0
    return next((place for place in range(len(ids)) if after_thoughts(decode(ids[: place + 1])).strip()), None)


def grade(verdict: Verdict, chances: Float[np.ndarray, " response"]) -> Verdict:
    """Return the verdict with the probabilities of the responses, which sum to 1, and their mass.

    Args:
        chances: log probabilities of the tokens that name the responses.
    """
    total = float(np.logaddexp.reduce(chances.astype(np.float64)))
    shares = np.exp(chances.astype(np.float64) - total)
    return replace(verdict, probabilities=tuple(map(float, shares)), mass=float(np.exp(total)))
