"""Several scored responses to one prompt: ``prompt``, ``responses`` and ``scores``, one score for each response.

Which pairs they make is a choice that no file tells, so each choice is a format of its own; every two responses are
what is taken where none is named.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from basereward.data.files import Raw
from basereward.data.formats.conversations import Branches
from basereward.data.formats.format import RecordFormat, file_pair
from basereward.data.formats.pairing import Pairing, parse_score, rank_pairs
from basereward.errors import RowError

COLUMNS = ("prompt", "responses", "scores")


def fits(record: Raw) -> bool:
    """Whether a record has the three fields."""
    return all(record.get(name) is not None for name in COLUMNS)


def parse(pairing: Pairing, record: Raw, name: str) -> Iterable[dict[str, Any]]:
    """Return the pairs of a record.

    Raises:
        RowError: ``malformed`` if responses and scores are no lists of one length, or as ``rank_pairs`` and
            ``file_pair``.
    """
    responses, given = record["responses"], record["scores"]
    if not isinstance(responses, list) or not isinstance(given, list) or len(responses) != len(given):
        raise RowError(
            "malformed", f"Expected one score for each response, found {given!r:.100} for {responses!r:.100}."
        )
    for better, worse, scores in rank_pairs([parse_score(score) for score in given], pairing):
        branches = Branches(record["prompt"], responses[better], responses[worse])
        pair = file_pair(record, f"{name}-{better}-{worse}", branches, COLUMNS, marks=False)
        yield {**pair, "scores": list(scores)}


def _make_format(name: str, pairing: Pairing, title: str) -> RecordFormat:
    return RecordFormat(name, f"prompt, responses and scores: {title}", COLUMNS, fits, partial(parse, pairing))


ALL = _make_format("ranking", "all", "every two responses with different scores")
ADJACENT = _make_format("ranking-adjacent", "adjacent", "neighbours in the order of scores")
BEST_WORST = _make_format("ranking-best-worst", "best_worst", "the best and the worst response")
