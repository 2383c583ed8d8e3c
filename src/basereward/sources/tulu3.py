"""Tulu-3: instructions with constraints, answers of the 70B model and of others.

Hub: ``allenai/tulu-3-IF-augmented-on-policy-70b`` (ODC-BY; no revision is pinned), Parquet files under ``data/``, about
65k rows (the paper: 65k, kept; not the mixture of 271k). ``chosen`` and ``rejected`` are whole conversations: the
pair is their last messages, the prompt what stands before, which has to be the same.

Source: the card of the 8B sibling; Tulu 3 (arXiv 2411.15124).
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.conversations import split_conversations, text_pair
from basereward.data.formats.records import PLACE, records_in
from basereward.data.source import Source

COLUMNS = ("id", "chosen", "rejected")


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        RowError: as ``split_conversations``.
    """
    expect_columns(record, COLUMNS, record[PLACE])
    branches = split_conversations(record["chosen"], record["rejected"])
    yield text_pair(SOURCE.name, record[PLACE], *branches, extra={"original_id": record["id"]})


SOURCE = Source(
    name="tulu3",
    title="Tulu-3: following instructions with constraints",
    repository=HubRepository("allenai/tulu-3-IF-augmented-on-policy-70b", "ODC-BY", patterns=("data/train-*.parquet",)),
    modality="text",
    verdict="kept",
    remark="A set of its own, not the Tulu-3 preference mixture of 271k pairs; olmo2 holds pairs of the same kind.",
    records=records_in("data/train-*.parquet"),
    parse=parse,
    paper_name="Tulu-3",
    paper_size=65_000,
)
