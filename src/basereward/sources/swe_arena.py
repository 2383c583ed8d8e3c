"""SWE-Arena: which of two models' answers to a programming task people voted for.

Hub: ``bigcode/swe-arena-preference-5k`` (bigcode-openrail-m, as its successor; no revision is pinned), Parquet files,
5.1k rows; a part of the paper's "Others". It was rebuilt later as ``bigcode/bigcodearena-preference-5k`` (4.7k).
A record has ``feedback.vote_type``, ``models`` and ``states``, each of the latter two for ``model_A`` and ``model_B``;
``states.*.messages`` is the whole conversation as pairs ``[role, text]``. Votes are those that the project's own
scripts read; any other is dropped as ``unknown_label`` and named. After several turns the two conversations differ
before the last answer, which is then no answer to the same question: such records are dropped as ``prefix_mismatch``.

Source: the card of the successor; bigcodearena, ``bigcodereward/README.md`` and ``analyze_bigcode_reward_results.py``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.conversations import split_conversations, text_pair
from basereward.data.formats.records import PLACE, records_in
from basereward.data.messages import ROLES
from basereward.data.source import Source
from basereward.errors import RowError

COLUMNS = ("feedback", "models", "chat_session_id", "states")
MODELS = ("model_A", "model_B")
VOTES = {
    "vote_model_A": MODELS,
    "vote_left": MODELS,
    "vote_model_B": MODELS[::-1],
    "vote_right": MODELS[::-1],
}
TIES = ("vote_tie", "vote_both_bad")


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        RowError: ``tie`` or ``unknown_label`` for the vote, or as ``split_conversations``.
    """
    place = record[PLACE]
    expect_columns(record, COLUMNS, place)
    feedback = _struct(record["feedback"], ("vote_type",), f"The feedback of {place}")
    models = _struct(record["models"], MODELS, f"The models of {place}")
    states = _struct(record["states"], MODELS, f"The states of {place}")
    chosen, rejected = order_models(feedback["vote_type"])
    branches = split_conversations(*(_messages(states[side], f"{side} of {place}") for side in (chosen, rejected)))
    yield text_pair(
        SOURCE.name,
        place,
        *branches,
        extra={
            "original_id": record["chat_session_id"],
            "chosen_model": models[chosen],
            "rejected_model": models[rejected],
        },
    )


def order_models(vote: Any) -> tuple[str, ...]:
    """Return which of ``model_A`` and ``model_B`` is chosen and which is rejected.

    Raises:
        RowError: ``tie``, or ``unknown_label`` for a vote that is not documented.
    """
    if vote in TIES:
        raise RowError("tie", f"The vote is {vote}.")
    if vote not in VOTES:
        raise RowError("unknown_label", f"Found the vote {vote!r}; expected one of {', '.join((*VOTES, *TIES))}.")
    return VOTES[vote]


def _struct(value: Any, columns: tuple[str, ...], place: str) -> Raw:
    if not isinstance(value, Mapping):
        raise RowError("malformed", f"{place}: expected the fields {', '.join(columns)}, found {value!r:.100}.")
    expect_columns(value, columns, place)
    return value


def _messages(state: Any, place: str) -> list[dict[str, Any]]:
    spoken = _struct(state, ("messages",), f"The state of {place}")["messages"]
    pairs = spoken if isinstance(spoken, list) else [spoken]
    if not all(isinstance(pair, list) and len(pair) == 2 and str(pair[0]).lower() in ROLES for pair in pairs):
        raise RowError("malformed", f"Expected messages as pairs of role and text, found {str(spoken)[:100]!r}.")
    return [{"role": ROLES[role.lower()], "content": text} for role, text in pairs]


SOURCE = Source(
    name="swe_arena",
    title="SWE-Arena: votes on answers to programming tasks",
    repository=HubRepository(
        "bigcode/swe-arena-preference-5k", "bigcode-openrail-m", patterns=("data/train-*.parquet",)
    ),
    modality="text",
    verdict="part",
    remark="A part of Others (63k) with wildchat; people saw the programs run, and the pair holds their text alone.",
    records=records_in("data/train-*.parquet"),
    parse=parse,
    paper_name="Others",
)
