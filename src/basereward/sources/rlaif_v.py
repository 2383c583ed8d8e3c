"""RLAIF-V: answers about images ranked by open models for how trustworthy they are.

Hub: ``openbmb/RLAIF-V-Dataset`` (cc-by-nc-4.0; no revision is pinned): 14 Parquet files with embedded images, about
83k rows (the paper: 83k, kept). Texts are plain strings without a placeholder. Chosen and rejected often differ in a
few words. VL-RewardBench holds 233 items with ids ``RLAIF-V-*``: filter contamination before training.

Source: the dataset card; RLAIF-V (arXiv 2405.17220).
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.records import PLACE, Turn, find_media, located_records, pair_record
from basereward.data.source import Source

PROVENANCE = ("ds_name", "origin_dataset", "origin_split", "idx", "image_path")
COLUMNS = ("image", "question", "chosen", "rejected", *PROVENANCE)


def records(files: DataFiles) -> Iterable[Raw]:
    """Yield the records of all shards.

    Raises:
        MissingFileError: there is no shard.
    """
    return located_records(files.find("RLAIF-V-Dataset_*.parquet", "data/*.parquet"))


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record."""
    expect_columns(record, COLUMNS, record[PLACE])
    yield pair_record(
        SOURCE.name,
        record[PLACE],
        [Turn("user", record["question"])],
        record["chosen"],
        record["rejected"],
        images=[find_media(record["image"], files)],
        extra={name: record[name] for name in PROVENANCE},
    )


SOURCE = Source(
    name="rlaif_v",
    title="RLAIF-V: trustworthy answers about images",
    repository=HubRepository("openbmb/RLAIF-V-Dataset", "cc-by-nc-4.0"),
    modality="image",
    verdict="kept",
    remark="Shares items with VL-RewardBench (233 ids RLAIF-V-*); the answers of a pair are often nearly equal.",
    records=records,
    parse=parse,
    paper_name="RLAIF-V",
    paper_size=83_000,
)
