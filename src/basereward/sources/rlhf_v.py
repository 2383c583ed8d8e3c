"""RLHF-V: answers about images, and the same answers with the hallucinations corrected by people.

Hub: ``openbmb/RLHF-V-Dataset`` (cc-by-nc-4.0), one Parquet file with embedded images, 5.7k rows; a part of the
paper's "R1-Reward" row. The column ``text`` is a JSON string with ``question``, ``chosen`` and ``rejected``.
VL-RewardBench holds 68 items with ids ``RLHF-V-*``.

Source: the dataset card; RLHF-V (arXiv 2312.00849).
"""

import json
from collections.abc import Iterable
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.records import PLACE, Turn, find_media, pair_record, records_in
from basereward.data.source import Source
from basereward.errors import RowError

PROVENANCE = ("ds_name", "origin_dataset", "origin_split", "idx", "image_path")
COLUMNS = ("image", "text", *PROVENANCE)
TEXTS = ("question", "chosen", "rejected")


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        RowError: ``malformed`` if ``text`` is not JSON.
    """
    expect_columns(record, COLUMNS, record[PLACE])
    try:
        texts = json.loads(record["text"]) if isinstance(record["text"], str) else record["text"]
    except json.JSONDecodeError as error:
        raise RowError("malformed", f"The column text is not JSON ({error}): {record['text'][:100]!r}.") from error
    if not isinstance(texts, dict):
        raise RowError("malformed", f"Expected an object in the column text, found {str(texts)[:100]!r}.")
    expect_columns(texts, TEXTS, f"The column text of {record[PLACE]}")
    yield pair_record(
        SOURCE.name,
        record[PLACE],
        [Turn("user", texts["question"])],
        texts["chosen"],
        texts["rejected"],
        images=[find_media(record["image"], files)],
        extra={name: record[name] for name in PROVENANCE},
    )


SOURCE = Source(
    name="rlhf_v",
    title="RLHF-V: hallucinations corrected by people",
    repository=HubRepository(
        "openbmb/RLHF-V-Dataset", "cc-by-nc-4.0", revision="1d8e9804b59e9da64ad7b1e17d505869ab9b2ad3"
    ),
    modality="image",
    verdict="part",
    remark="A part of R1-Reward; shares items with VL-RewardBench (68 ids RLHF-V-*).",
    records=records_in("RLHF-V-Dataset.parquet"),
    parse=parse,
    paper_name="R1-Reward",
)
