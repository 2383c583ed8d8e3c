"""MM-RLHF: answers about images and videos ranked by people.

Hub: ``yifanzhang114/MM-RLHF`` (licence: see the repository; no revision is pinned): ``dpo_pairs.jsonl`` with about 80k
pairs of 20k prompts, and long, short, mcq, safety and video archives; a part of the paper's "R1-Reward" row. A record
has ``prompt``, ``chosen``, ``rejected`` and either ``image`` or ``video``, a relative path. A video is a folder of
frames; 32 at equal distances are taken, in the order of their names, as the benchmark of the same authors does.
MM-RLHF-RewardBench is drawn from this collection: filter contamination by image name and prompt.

Source: MM-RLHF (arXiv 2502.10391), ``scripts/convert_to_swift.py``.
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.records import PLACE, Turn, find_media, pair_record, records_in
from basereward.data.media import find_frames
from basereward.data.source import Source
from basereward.errors import DataError, RowError

COLUMNS = ("prompt", "chosen", "rejected")
FRAMES = 32


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        DataError: it has neither ``image`` nor ``video``.
        RowError: ``malformed`` if it has both.
    """
    expect_columns(record, COLUMNS, record[PLACE])
    media = [kind for kind in ("image", "video") if record.get(kind)]
    if not media:
        raise DataError(f"{record[PLACE]} has no 'image' and no 'video'; found the fields {', '.join(record)}.")
    if len(media) > 1:
        raise RowError("malformed", "The record has an image and a video; expected one of them.")
    path = record[media[0]]
    yield pair_record(
        SOURCE.name,
        record[PLACE],
        [Turn("user", record["prompt"])],
        record["chosen"],
        record["rejected"],
        images=[find_media(path, files)] if media == ["image"] else [],
        videos=[{"frames": find_frames(files, path, FRAMES), "fps": None}] if media == ["video"] else [],
        extra={"original_id": record.get("id"), f"{media[0]}_path": path, "subset": str(path).partition("/")[0]},
    )


SOURCE = Source(
    name="mm_rlhf",
    title="MM-RLHF: images and videos, ranked by people",
    repository=HubRepository("yifanzhang114/MM-RLHF", "see the repository", patterns=("dpo_pairs.jsonl", "*.zip")),
    modality="image+video",
    verdict="part",
    remark="A part of R1-Reward; MM-RLHF-RewardBench is drawn from the same collection.",
    records=records_in("dpo_pairs.jsonl"),
    parse=parse,
    paper_name="R1-Reward",
)
