"""VLFeedback: four answers to each question about an image, rated by GPT-4V on three aspects.

Hub: ``MMInstruction/VLFeedback`` (no licence is stated), ``vlfeedback_80k.jsonl`` and ``merged_images.zip``; a part of
the paper's "R1-Reward" row. A record has ``id``, ``prompt`` and ``completions``, each with ``model``, ``response`` and
``annotations``: aspect -> ``{Rating, Rationale}``. Ratings are strings, and "N/A" occurs. As in the authors' script,
every two answers whose mean ratings differ make a pair; answers without three numbers make none. The image is
``merged_images/<id>.jpg``. Ids repeat (some 29k do): where two records of one id had different images, one of them
shows the wrong one, and nothing in the files tells which.

Source: VLFeedback / Silkie (arXiv 2312.10665), ``run_dpo.py`` and the repository's ``VLFeedback.py``.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.pairing import rank_pairs
from basereward.data.formats.records import PLACE, Turn, pair_record, records_in
from basereward.data.media import find_image
from basereward.data.source import Source
from basereward.errors import DataError, RowError

COLUMNS = ("id", "prompt", "completions")
COMPLETION = ("annotations", "model", "response")
ASPECTS = ("Helpfulness", "Visual Faithfulness", "Ethical Considerations")


class RatedAnswer(NamedTuple):
    """A response, the model that gave it, its place among the four and its mean rating."""

    response: Any
    model: str
    place: int
    rating: float


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return a pair for every two answers with different ratings.

    Raises:
        RowError: ``unrated`` if fewer than two answers have all ratings, ``tie`` if all ratings are equal.
    """
    expect_columns(record, COLUMNS, record[PLACE])
    answers = rated_answers(record["completions"], record[PLACE])
    if len(answers) < 2:
        raise RowError("unrated", f"{len(answers)} of {len(record['completions'])} answers have all three ratings.")
    pairs = rank_pairs([answer.rating for answer in answers])
    name = f"{record['id']}.jpg"
    image = find_image(files, f"merged_images/{name}", name)
    for better, worse in ((answers[pair.better], answers[pair.worse]) for pair in pairs):
        yield pair_record(
            SOURCE.name,
            f"{record[PLACE]}-{better.place}-{worse.place}",
            [Turn("user", record["prompt"])],
            better.response,
            worse.response,
            images=[image],
            scores=[better.rating, worse.rating],
            extra={
                "original_id": record["id"],
                "image_path": name,
                "chosen_model": better.model,
                "rejected_model": worse.model,
            },
        )


def rated_answers(completions: Any, place: str) -> list[RatedAnswer]:
    """Return the answers whose three ratings are numbers, each with their mean.

    Raises:
        DataError: a completion is not in the documented layout.
    """
    answers = []
    if not isinstance(completions, list):
        raise DataError(f"{place} has {type(completions).__name__} as 'completions'; expected a list of completions.")
    for number, completion in enumerate(completions):
        expect_columns(completion, COMPLETION, f"Completion {number} of {place}")
        annotations = completion["annotations"]
        expect_columns(annotations, ASPECTS, f"The annotations of completion {number} of {place}")
        try:
            rating = sum(float(annotations[aspect]["Rating"]) for aspect in ASPECTS) / len(ASPECTS)
        except (TypeError, KeyError, ValueError):
            continue
        if math.isfinite(rating):
            answers.append(RatedAnswer(completion["response"], completion["model"], number, rating))
    return answers


SOURCE = Source(
    name="vlfeedback",
    title="VLFeedback: four answers rated by GPT-4V",
    repository=HubRepository(
        "MMInstruction/VLFeedback",
        "not stated",
        revision="0bd5e141605f55ce04e845c65ac2c716ef89e8ec",
        patterns=("vlfeedback_80k.jsonl", "merged_images.zip"),
    ),
    modality="image",
    verdict="part",
    remark="A part of R1-Reward; ids, which name the images, repeat; VL-RewardBench holds 10 of its items.",
    records=records_in("vlfeedback_80k.jsonl"),
    parse=parse,
    paper_name="R1-Reward",
)
