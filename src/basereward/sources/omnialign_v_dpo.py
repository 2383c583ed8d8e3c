"""OmniAlign-V-DPO: open questions about images, answers of a strong model against those of a small one.

Hub: ``PhoenixZ/OmniAlign-V-DPO`` (no licence is stated; no revision is pinned): six JSONL files and ``images.tar``,
133k rows (the paper: 120k, left out). The columns are those that the authors' training script reads: ``prompt``,
``chosen``, ``rejected`` and ``image``, a path that may start with the folder ``OmniAlign_V_DPO`` of their layout.
The chosen answer is always the strong model's, so that a reward model may learn its style.

Source: OmniAlign-V (arXiv 2502.18411), ``llava/train/train_dpo.py``.
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.records import PLACE, Turn, find_media, pair_record, records_in
from basereward.data.source import Source

COLUMNS = ("image", "prompt", "chosen", "rejected")
SUBSETS = ("chart", "creation", "diagram", "ins_follow", "knowledge", "poster")
_ROOT = "OmniAlign_V_DPO/"


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record."""
    expect_columns(record, COLUMNS, record[PLACE])
    names = record["image"] if isinstance(record["image"], list) else [record["image"]]
    paths = [name.removeprefix(_ROOT) if isinstance(name, str) else name for name in names]
    yield pair_record(
        SOURCE.name,
        record[PLACE],
        [Turn("user", record["prompt"])],
        record["chosen"],
        record["rejected"],
        images=[find_media(path, files) for path in paths],
        extra={"subset": record[PLACE].rpartition("-")[0], "image_path": names, "original_id": record.get("id")},
    )


SOURCE = Source(
    name="omnialign_v_dpo",
    title="OmniAlign-V-DPO: open questions about images",
    repository=HubRepository("PhoenixZ/OmniAlign-V-DPO", "not stated"),
    modality="image",
    verdict="dropped",
    remark="The chosen answer is always the stronger model's: style, not quality, tells the two apart.",
    records=records_in(*(f"{subset}.jsonl" for subset in SUBSETS)),
    parse=parse,
    paper_name="Omni-Align",
    paper_size=120_000,
)
