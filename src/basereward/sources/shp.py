"""SHP: which of two Reddit comments on a post people liked better.

Hub: ``stanfordnlp/SHP`` (MIT, Reddit's terms apply; no revision is pinned): 18 folders, one a subreddit, each with
``train.json``, ``validation.json`` and ``test.json``, JSON lines in spite of the name. The training part holds 348,718
pairs (the paper: 348k, left out); the test part is one of RewardBench's prior sets and is refused. ``labels`` is 1 if
comment A is preferred and 0 if comment B is; the preferred one also has the higher score. The prompt is ``history``.

One post may have thousands of pairs: ``post_id``, ``score_ratio`` and the scores are kept for a cap and a filter.

Source: the dataset card; Ethayarajh et al. (ICML 2022).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.conversations import text_pair
from basereward.data.formats.pairing import parse_score
from basereward.data.formats.records import PLACE, located_records
from basereward.data.source import Source
from basereward.errors import DataError, RowError

KEPT = ("post_id", "domain", "upvote_ratio", "score_ratio", "seconds_difference")
COLUMNS = (*KEPT, "history", "human_ref_A", "human_ref_B", "score_A", "score_B", "labels")
SIDES = {1: ("A", "B"), 0: ("B", "A")}


def records(files: DataFiles) -> Iterator[Raw]:
    """Yield the records of the training part of every subreddit.

    Raises:
        MissingFileError: there is no ``train.json``.
    """
    for path in files.find("*/train.json"):
        for record in located_records([path]):
            yield {**record, PLACE: f"{path.parent.name}-{record[PLACE]}"}


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        DataError: a record of the validation or test part.
        RowError: ``unknown_label`` for a label that is neither 0 nor 1 or contradicts the scores, ``unrated`` for a
            score that is no number.
    """
    expect_columns(record, COLUMNS, record[PLACE])
    if not str(record["domain"]).endswith("_train"):
        raise DataError(
            f"{record[PLACE]} has the domain {record['domain']!r}; expected one that ends in '_train', because the "
            "other parts are for evaluation."
        )
    label = record["labels"]
    if label not in SIDES:
        raise RowError("unknown_label", f"Expected the label 1 (A is preferred) or 0 (B is), found {label!r}.")
    better, worse = SIDES[label]
    higher, lower = (parse_score(record[f"score_{side}"]) for side in (better, worse))
    if higher is None or lower is None:
        raise RowError("unrated", f"Expected scores as numbers, found {record['score_A']!r} and {record['score_B']!r}.")
    if higher < lower:
        raise RowError("unknown_label", f"Label {label} prefers the score {higher:g} to the score {lower:g}.")
    yield text_pair(
        SOURCE.name,
        record[PLACE],
        record["history"],
        record[f"human_ref_{better}"],
        record[f"human_ref_{worse}"],
        scores=(higher, lower),
        extra={name: record[name] for name in KEPT},
    )


SOURCE = Source(
    name="shp",
    title="SHP: comments on Reddit posts",
    repository=HubRepository("stanfordnlp/SHP", "MIT, Reddit's terms", patterns=("*/train.json",)),
    modality="text",
    verdict="dropped",
    remark="No assistant's style, and up to thousands of pairs of one post; the test part belongs to RewardBench.",
    records=records,
    parse=parse,
    paper_name="SHP",
    paper_size=348_000,
)
