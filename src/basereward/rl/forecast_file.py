"""Forecasts from files: prompts with responses and gold scores or right answers, scored once, resumable."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from basereward.data.arrangement import ReadOptions
from basereward.data.digests import image_key
from basereward.data.formats.group import parse_group
from basereward.data.identity import Identity
from basereward.data.io import count_records, read_records, replacing, write_json, write_lines
from basereward.data.outcomes import Failure, Score
from basereward.data.places import open_place
from basereward.data.progress import Progress, no_progress
from basereward.data.reader import Reader, open_reader
from basereward.data.schema import ResponseGroup
from basereward.data.work import IDENTITY, RECORDS, Work, open_work
from basereward.errors import DataError, RewardError, RowError, WorkError
from basereward.rl.forecast import FORECAST, Forecast, ScoredPrompt, make_forecast
from basereward.rl.matching.answer import Kind
from basereward.rl.matching.match import match_any
from basereward.scoring.interface import Scorer, checked_scores

# Columns that hold gold where none is named: scores of the responses, or the right answer.
GOLD_COLUMNS = ("scores", "answer")
PROMPTS = "prompts.jsonl"
BATCH_ROWS = 64


class Gold(NamedTuple):
    """Where the truth of a file stands: a column of scores for the responses, or of right answers and their matcher."""

    column: str
    matcher: Kind | None

    @property
    def says(self) -> str:
        """What results call it."""
        return f"scores in {self.column}" if self.matcher is None else f"{self.matcher} match with {self.column}"


def forecast_file(
    scorer: Scorer,
    source: Path,
    out: Path,
    column: str | None = None,
    matcher: Kind = "robust",
    options: ReadOptions | None = None,
    largest: int | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    on_progress: Progress = no_progress,
) -> Forecast:
    """Score every prompt of a file and write ``forecast.json`` into a folder; the same call goes on from its kept work.

    A prompt of which any response cannot be scored is left out and counted by the reason.

    Args:
        column: of the truth: a list with a score for each response, the right answer, or a list of right answers; by
            default the one of ``GOLD_COLUMNS`` that is there.
        matcher: how responses are compared with right answers.
        largest: as for ``make_forecast``.
        settings: what else than the scorer decides a score, such as its dtype.
        overwrite: delete the forecast that the folder holds.

    Raises:
        MissingFileError: no such file.
        DataError: the file has no gold column, a prompt has no right answer, or too little is left.
        WorkError: another process writes the folder, it holds a forecast, or unfinished work of another kind.
        RewardError: the scorer compares responses: among fewer of them its rewards would be others.
    """
    if scorer.about.compares:
        raise RewardError(
            f"{scorer.about.name} compares the responses to a prompt: its rewards among n of them are not those among "
            "all, from which best of n is estimated. Forecast with a model that scores each by itself."
        )
    with open_work(out, out) as work:
        if overwrite:
            for name in (FORECAST, PROMPTS, RECORDS, IDENTITY):
                (out / name).unlink(missing_ok=True)
        if (out / FORECAST).exists():
            raise WorkError(f"{out} holds a forecast; choose another --out, or give --overwrite.")
        reader = open_reader(read_records(source), str(source), options, groups=True)
        reader.recognised.say()
        gold = find_gold(source, column, matcher)
        read = options.model_dump(mode="json") if options else None
        identity = _identity(scorer, source, {**(settings or {}), "gold": gold._asdict(), "read": read})
        work.claim(identity)
        rows = _score_file(scorer, reader, source, gold, work, on_progress)
        if _identity(scorer, source, identity.settings) != identity:
            raise DataError(f"{source} changed while it was scored; delete {out} and start anew.")
        found = _conclude(scorer.about.name, gold, rows, largest)
        with replacing(out / PROMPTS) as temporary:
            write_lines(temporary, rows)
        write_json(out / FORECAST, found.model_dump(mode="json"))
        for name in (RECORDS, IDENTITY):
            (out / name).unlink(missing_ok=True)
        return found


def _identity(scorer: Scorer, source: Path, settings: Mapping[str, Any]) -> Identity:
    return Identity(
        task="forecast",
        inputs=(open_place(str(source)).describe(),),
        weights={"name": scorer.about.name, **scorer.about.facts},
        # Paths of images are relative to the folder.
        settings={**settings, "folder": str(source.parent.resolve())},
    )


def _score_file(
    scorer: Scorer, reader: Reader, source: Path, gold: Gold, work: Work, on_progress: Progress
) -> list[dict[str, Any]]:
    """Return the rewards and gold scores of every record, those of earlier calls included."""
    total = count_records(source)
    records = work.records(total)
    missing = ((number, row) for number, row in enumerate(read_records(source)) if number not in records)
    while batch := dict(islice(missing, BATCH_ROWS)):
        records.add(_score_rows(scorer, reader, batch, source, gold))
        on_progress(len(records), total)
    return list(records.complete())


def find_gold(source: Path, column: str | None, matcher: Kind) -> Gold:
    """Return where the truth of a file stands; its first record tells scores from right answers.

    Raises:
        DataError: no such column, or none is named and not exactly one of ``GOLD_COLUMNS`` is there.
    """
    first = next(read_records(source))
    found = [name for name in ([column] if column else GOLD_COLUMNS) if first.get(name) is not None]
    if len(found) != 1:
        asked = f"no {column}" if column else f"{' and '.join(found) or 'none'} of {', '.join(GOLD_COLUMNS)}"
        raise DataError(
            f"The first record of {source} has {asked}; name the column of gold scores or right answers with --gold. "
            f"It has {', '.join(first)}."
        )
    return Gold(found[0], None if _is_scores(first[found[0]]) else matcher)


def _is_scores(value: Any) -> TypeGuard[list[float]]:
    return isinstance(value, list) and all(isinstance(one, (int, float)) for one in value)


def _score_rows(
    scorer: Scorer, reader: Reader, rows: Mapping[int, Mapping[str, Any]], source: Path, gold: Gold
) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    groups: dict[int, tuple[ResponseGroup, list[float]]] = {}
    for number, row in rows.items():
        try:
            group = parse_group(reader.prepare(row), str(row.get("id") or number), source.parent)
            groups[number] = (group, _gold(row, group, gold, f"{source}, record {number}"))
        except RowError as error:
            done.append({"row": number, "reason": error.reason, "message": str(error)})
    scored = checked_scores(scorer, [group for group, _ in groups.values()])
    for (number, (group, truth)), said in zip(groups.items(), scored, strict=True):
        failed = [one for one in said if isinstance(one, Failure)]
        if failed:
            done.append({"row": number, "reason": failed[0].reason, "message": failed[0].message})
        else:
            rewards = [one.value for one in said if isinstance(one, Score)]
            done.append({"row": number, "cluster": _cluster(group), "rewards": rewards, "gold": truth})
    return done


def _gold(row: Mapping[str, Any], group: ResponseGroup, gold: Gold, place: str) -> list[float]:
    """Return the gold score of each response: as it is given, or 1 for a response that matches the right answer.

    Raises:
        RowError: ``unrated`` if neither is there.
        DataError: the right answer is empty.
    """
    value = row.get(gold.column)
    if gold.matcher is None:
        if not _is_scores(value) or len(value) != len(group.responses) or not all(map(isfinite, value)):
            found = f"{str(value)[:80]} for {len(group.responses)} responses"
            raise RowError("unrated", f"{place}: expected a score for each response in {gold.column}, found {found}.")
        return [float(one) for one in value]
    answers: Any = value if isinstance(value, list) else [value]
    if not all(isinstance(one, (str, int, float)) for one in answers):
        raise RowError("unrated", f"{place}: expected a right answer in {gold.column}, found {str(value)[:80]!r}.")
    choices = row.get("options") or ()
    texts = [str(one) for one in answers]
    try:
        matches = [match_any(response.text, texts, gold.matcher, choices) for response in group.responses]
    except RewardError as error:
        raise DataError(f"{place}: {error}") from error
    return [float(one.matched) for one in matches]


def _cluster(group: ResponseGroup) -> str:
    content = [[message.to_dict() for message in group.prompt], [image_key(image) for image in group.images]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _conclude(model: str, gold: Gold, rows: Sequence[Mapping[str, Any]], largest: int | None) -> Forecast:
    dropped = Counter(row["reason"] for row in rows if "reason" in row)
    prompts = list(_prompts(rows))
    return make_forecast(model, gold.says, prompts, dropped, largest)


def _prompts(rows: Sequence[Mapping[str, Any]]) -> Iterator[ScoredPrompt]:
    for row in rows:
        if "reason" not in row:
            yield ScoredPrompt(tuple(row["rewards"]), tuple(row["gold"]), row["cluster"])
