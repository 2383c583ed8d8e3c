"""Prompts with answers for reinforcement learning: V*, arXivQA and ThinkLite-VL, as DeepEyes released them.

Hub: ``ChenShawn/DeepEyes-Datasets-47k`` (licence: see the repository), three Parquet files in verl's layout: ``prompt``
(messages), ``images`` (embedded), ``data_source``, ``reward_model`` (``ground_truth``) and ``extra_info``. The paper
names the three sets and not their files (Appendix C). V* and arXivQA prompts ask for a zoom tool, in a system message
and at the end of the question: both are left out, so that the question and its options remain. ThinkLite-VL prompts are
kept whole. Some of its images have sides below 28 pixels. ``craigwu/vstar_bench`` is the benchmark of V*, not this set.

Source: DeepEyes (arXiv 2505.14362) and its training code.
"""

from collections.abc import Callable, Iterable
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.records import PLACE, Turn, find_media, located_records, media_messages
from basereward.data.source import Source
from basereward.errors import DataError

COLUMNS = ("prompt", "images", "data_source", "reward_model", "extra_info")
TOOL = "image_zoom_in_tool"
_TOOL_REQUEST = f"\nThink first, call **{TOOL}**"
_REPOSITORY = HubRepository(
    "ChenShawn/DeepEyes-Datasets-47k", "see the repository", revision="5546681e28fa2eda9f60a9ea9dd0cf291216ded3"
)


def question_turns(prompt: Any, place: str) -> list[Turn]:
    """Return the messages of a prompt without the request to use a tool.

    Raises:
        DataError: it is no list of messages, or speaks of the tool elsewhere.
    """
    if not isinstance(prompt, list) or not all(isinstance(turn, dict) for turn in prompt):
        raise DataError(f"{place} has {type(prompt).__name__} as 'prompt'; expected a list of messages.")
    for turn in prompt:
        expect_columns(turn, ("role", "content"), f"A message of {place}")
    turns = [Turn(turn["role"], turn["content"]) for turn in prompt]
    if any(TOOL in str(turn.text) for turn in turns):
        turns = [Turn(turn.role, turn.text.partition(_TOOL_REQUEST)[0]) for turn in turns if turn.role != "system"]
    if any(TOOL in str(turn.text) for turn in turns):
        raise DataError(f"{place} asks for {TOOL} in another form than at the end of the question: {turns!s:.300}")
    return turns


def _parse(name: str) -> Callable[[Raw, DataFiles], Iterable[dict[str, Any]]]:
    def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
        expect_columns(record, COLUMNS, record[PLACE])
        expect_columns(record["reward_model"] or {}, ("ground_truth",), f"The reward_model of {record[PLACE]}")
        images = [find_media(image, files) for image in record["images"] or []]
        extra = record["extra_info"] or {}
        yield {
            "id": record[PLACE],
            "source": name,
            "images": images,
            "prompt": media_messages(question_turns(record["prompt"], record[PLACE]), len(images)),
            "answer": record["reward_model"]["ground_truth"],
            "data_source": record["data_source"],
            "question": extra.get("question"),
            "original_index": extra.get("index"),
        }

    return parse


def _source(name: str, title: str, file: str, rows: int, remark: str) -> Source:
    return Source(
        name=name,
        title=title,
        repository=HubRepository(_REPOSITORY.id, _REPOSITORY.licence, _REPOSITORY.revision, (file,)),
        modality="image",
        verdict="rl",
        remark=f"{rows:,} prompts. {remark}",
        records=lambda files: located_records(files.find(file)),
        parse=_parse(name),
        kind="prompts",
    )


VSTAR = _source(
    "vstar",
    "V*: small things in large images",
    "data_0.1.2_visual_toolbox_v2.parquet",
    22_362,
    "Not craigwu/vstar_bench, which is the benchmark.",
)
ARXIVQA = _source(
    "arxivqa", "arXivQA: figures of papers", "data_v0.8_visual_toolbox_v2.parquet", 13_659, "Very large images."
)
THINKLITE_VL = _source(
    "thinklite_vl",
    "ThinkLite-VL: mathematics and reasoning about images",
    "data_thinklite_reasoning_acc.parquet",
    11_031,
    "Some images have sides below 28 pixels.",
)
