"""WildChat in the Tulu-3 way: real questions to chatbots, answers rated as in UltraFeedback.

Hub: ``allenai/tulu-3-wildchat-ultrafeedback`` (ODC-BY; no revision is pinned), Parquet files ``data/<split>-*``; a part
of the paper's "Others" (63k, kept). Choice: the four splits below, 56,034 pairs, which with swe_arena come near to the
paper's 63k; ``wildchat_unused`` (82,783) is left out. ``chosen`` and ``rejected`` are whole conversations: the
pair is their last messages, the prompt what stands before.

Source: the dataset card; Tulu 3 (arXiv 2411.15124).
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.conversations import split_conversations, text_pair
from basereward.data.formats.records import PLACE, records_in
from basereward.data.source import Source

SPLITS = (
    "wildchat_if",
    "wildchat_if_on_policy_70b",
    "wildchat_reused_on_policy_70b",
    "wildchat_reused_on_policy_8b",
)
COLUMNS = ("id", "chosen", "rejected")


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        RowError: as ``split_conversations``.
    """
    place = record[PLACE]
    expect_columns(record, COLUMNS, place)
    branches = split_conversations(record["chosen"], record["rejected"])
    extra = {"original_id": record["id"], "subset": place.partition("-")[0]}
    yield text_pair(SOURCE.name, place, *branches, extra=extra)


SOURCE = Source(
    name="wildchat",
    title="WildChat: real questions, rated answers",
    repository=HubRepository(
        "allenai/tulu-3-wildchat-ultrafeedback",
        "ODC-BY",
        patterns=tuple(f"data/{split}-*.parquet" for split in SPLITS),
    ),
    modality="text",
    verdict="part",
    remark="A part of Others (63k) with swe_arena; four of five splits, not wildchat_unused; shares pairs with olmo2.",
    records=records_in(*(f"data/{split}-*.parquet" for split in SPLITS)),
    parse=parse,
    paper_name="Others",
)
