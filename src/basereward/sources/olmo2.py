"""OLMo-2: the preference mixture of OLMo 2 1B, from several sources.

Hub: ``allenai/olmo-2-0425-1b-preference-mix`` (ODC-BY, some parts non-commercial), Parquet files under ``data/``; the
7B sibling has 378,341 rows (the paper: 378k, kept). ``chosen`` and ``rejected`` are whole conversations, some of
several turns: the pair is their last messages, the prompt what stands before. Further columns are those of the
sibling's card; others than these are ignored. Pairs with equal ratings are dropped, those without any are kept.

It contains UltraFeedback, WildChat and instructions with constraints: pairs repeat in ``ultra_hard``, ``tulu3`` and
``wildchat``. ``subset`` names where a pair is from.

Source: the card of ``allenai/olmo-2-1124-7b-preference-mix``; OLMo 2 (arXiv 2501.00656).
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.conversations import split_conversations, text_pair
from basereward.data.formats.pairing import parse_score
from basereward.data.formats.records import PLACE, records_in
from basereward.data.source import Source
from basereward.errors import RowError

MODELS = ("chosen_model", "rejected_model")
RATINGS = ("chosen_rating", "rejected_rating")
COLUMNS = ("id", "source", "chosen", "rejected", *RATINGS, *MODELS)


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        RowError: ``tie`` for equal ratings, or as ``split_conversations``.
    """
    expect_columns(record, COLUMNS, record[PLACE])
    branches = split_conversations(record["chosen"], record["rejected"])
    scores = [score for score in (parse_score(record[name]) for name in RATINGS) if score is not None]
    if len(scores) == 2 and scores[0] == scores[1]:
        raise RowError("tie", f"Both responses are rated {scores[0]:g}.")
    extra = {name: record[name] for name in MODELS}
    yield text_pair(
        SOURCE.name,
        record[PLACE],
        *branches,
        scores=scores if len(scores) == 2 else (),
        extra={"original_id": record["id"], "subset": record["source"], **extra},
    )


SOURCE = Source(
    name="olmo2",
    title="OLMo-2: preference mixture of the 1B model",
    repository=HubRepository(
        "allenai/olmo-2-0425-1b-preference-mix",
        "ODC-BY, parts non-commercial",
        revision="c6454f3d364622718a8ecd3d307e524febbba569",
        patterns=("data/train-*.parquet",),
    ),
    modality="text",
    verdict="kept",
    remark="Contains pairs of UltraFeedback, WildChat and Tulu-3: remove duplicates before mixing it with them.",
    records=records_in("data/train-*.parquet"),
    parse=parse,
    paper_name="Olmo-2",
    paper_size=378_000,
)
