"""Where benchmark items were taken from: ids and file names that training rows of the same origin carry too.

VL-RewardBench names most items after their origin: ``RLAIF-V-<n>``, ``RLHF-V-<n>``, ``hallucination_pair-<n>`` (POVID),
``wildvision-battle-<n>``, and for VLFeedback the id of the record, such as ``LRVInstruction-<n>``. MM-RLHF-RewardBench
keeps the file names of MM-RLHF. RewardBench, RewardBench 2, RM-Bench, JudgeBench and Multimodal RewardBench have ids of
their own: only texts and images match them. The number of ``RLAIF-V-<n>`` is not known to be the column ``idx`` of the
set, which holds longer ids in public copies; no id is therefore believed without the question that goes with it.

Source: MMInstruction/VL-RewardBench, yifanzhang114/MM-RLHF-RewardBench and the cards of the training sets.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basereward.benchmarks.items import BenchmarkItem
from basereward.data.digests import image_key

# Source -> what stands before its ``idx`` in the ids of VL-RewardBench.
PREFIXES = {"rlaif_v": "RLAIF-V-", "rlhf_v": "RLHF-V-"}
# Columns of training rows that hold the id of their origin.
ID_COLUMNS = ("original_id", "id")
# Benchmarks and sources whose media keep the file names of MM-RLHF.
MM_RLHF_BENCHMARK = "mm_rlhf_rewardbench"
MM_RLHF_SOURCES = ("mm_rlhf", "r1_reward_rl")
MEDIA_COLUMNS = ("image_path", "video_path")
_NUMBER = re.compile(r"[\d\s]*")


def item_keys(benchmark: str, item: BenchmarkItem) -> set[str]:
    """Return the provenance keys of an item: the ids of its rows, and the names of its media if they are original."""
    keys = {_id_key(row.id) for row in item.rows if not _NUMBER.fullmatch(row.id)}
    if benchmark == MM_RLHF_BENCHMARK:
        videos = {id(frame) for group in item.groups for video in group.videos for frame in video.frames}
        for image in item.images:
            path = Path(image_key(image))
            # The frames of a video lie in a folder of its name; one that is missing stands as its only frame.
            is_frame = id(image) in videos and path.suffix
            keys.add(_media_key(path.parent if is_frame else path))
    return keys


def row_keys(source: str, identity: str, extra: Mapping[str, Any]) -> set[str]:
    """Return the provenance keys of a training row.

    Args:
        source: its source.
        identity: its id.
        extra: its other columns.
    """
    ids = [identity, *(str(extra[name]) for name in ID_COLUMNS if extra.get(name) is not None)]
    keys = {_id_key(one) for one in ids if not _NUMBER.fullmatch(one)}
    if source in PREFIXES and extra.get("idx") is not None:
        keys.add(_id_key(f"{PREFIXES[source]}{extra['idx']}"))
    if source in MM_RLHF_SOURCES:
        keys |= {_media_key(Path(extra[name])) for name in MEDIA_COLUMNS if isinstance(extra.get(name), str)}
    return keys


def stored_keys(row: Mapping[str, Any]) -> set[str]:
    """Return the provenance keys of a stored row, its extra columns still as JSON."""
    return row_keys(row["source"] or "", row["id"] or "", json.loads(row["extra_json"] or "{}"))


def _id_key(identity: str) -> str:
    return f"id {identity.strip()}"


def _media_key(path: Path) -> str:
    return f"mm_rlhf {path.name}"
