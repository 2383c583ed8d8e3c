"""R1-Reward-RL: the released part of R1-Reward's data, judge prompts turned back into pairs.

Hub: ``yifanzhang114/R1-Reward-RL`` (licence: see the repository; no revision is pinned), six Parquet files with 17,261
rows: the reinforcement-learning subset of the 200k pairs that the paper calls R1-Reward. ``message`` is a JSON string
of messages whose text puts the question and two responses into a judge's template, ``answer`` a list such as
``["<answer>2</answer>"]`` that names the better one, ``question`` the question alone and ``image`` the encoded image
or its path.

Source: R1-Reward (arXiv 2505.02835), the dataset card and ``README.md`` of r1_reward.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.records import PLACE, Turn, find_media, pair_record, records_in
from basereward.data.images import decode_text
from basereward.data.source import Source
from basereward.errors import RowError

COLUMNS = ("question", "message", "answer", "image")
_FIRST = "###### [Response 1]:\n"
_SECOND = re.compile(r"[ ]*\n\n###### \[Response 2\]:\n")
_END = re.compile(r"[ ]*\n\n###### \*\*Output Format")
_ANSWER = re.compile(r"\s*<answer>\s*([12])\s*</answer>\s*")


class Responses(NamedTuple):
    """The two responses of a judge's prompt, in its order."""

    first: str
    second: str


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record, its responses swapped where the second is the better one.

    Raises:
        RowError: ``malformed`` if the template is not found once, ``unknown_label`` if the answers name no response.
    """
    expect_columns(record, COLUMNS, record[PLACE])
    responses = split_responses(message_text(record["message"]))
    chosen, rejected = responses if preferred(record["answer"]) == 1 else reversed(responses)
    image = record["image"]
    if isinstance(image, str) and isinstance(data := decode_text(image), bytes):
        image = {"bytes": data, "path": None}
    yield pair_record(
        SOURCE.name,
        record[PLACE],
        [Turn("user", record["question"])],
        chosen,
        rejected,
        images=[find_media(image, files)],
        extra={"image_path": image if isinstance(image, str) else None},
    )


def message_text(message: Any) -> str:
    """Return the texts of a JSON string of messages.

    Raises:
        RowError: ``malformed`` if it is no list of messages.
    """
    try:
        turns = json.loads(message)
        contents = [turn["content"] for turn in turns]
        parts = [part for content in contents for part in ([content] if isinstance(content, str) else content)]
        return "".join(part if isinstance(part, str) else part.get("text") or "" for part in parts)
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise RowError(
            "malformed", f"Expected messages as JSON in 'message' ({error!r}), found {str(message)[:100]!r}."
        ) from error


def split_responses(text: str) -> Responses:
    """Return the two responses of a judge's prompt.

    Raises:
        RowError: ``malformed`` if one of the three headings does not stand there exactly once.
    """
    _, *first = text.split(_FIRST)
    body = first[0] if len(first) == 1 else ""
    middles, ends = list(_SECOND.finditer(body)), list(_END.finditer(body))
    if len(middles) != 1 or len(ends) != 1 or middles[0].end() > ends[0].start():
        raise RowError(
            "malformed",
            "Expected '###### [Response 1]:', '###### [Response 2]:' and '###### **Output Format' once each, found "
            f"{len(first)}, {text.count('###### [Response 2]:')} and {text.count('###### **Output Format')}.",
        )
    return Responses(body[: middles[0].start()], body[middles[0].end() : ends[0].start()])


def preferred(answers: Any) -> int:
    """Return 1 or 2, the response that all of a list of answers name.

    Raises:
        RowError: ``unknown_label``.
    """
    listed = [answers] if isinstance(answers, str) else answers or []
    found = [_ANSWER.fullmatch(str(answer)) for answer in listed]
    named = {match[1] for match in found if match}
    if len(named) != 1 or not all(found):
        raise RowError("unknown_label", f"Expected <answer>1</answer> or <answer>2</answer>, found {listed!r:.200}.")
    return int(named.pop())


SOURCE = Source(
    name="r1_reward_rl",
    title="R1-Reward-RL: the released subset of R1-Reward",
    repository=HubRepository("yifanzhang114/R1-Reward-RL", "see the repository", patterns=("data/*.parquet",)),
    modality="image",
    verdict="part",
    remark="17k of R1-Reward's 200k pairs, whose recipe is not published; its sources overlap VL-RewardBench.",
    records=records_in("data/train-*.parquet"),
    parse=parse,
    paper_name="R1-Reward",
)
