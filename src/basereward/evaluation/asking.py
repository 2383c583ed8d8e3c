"""One walk over items, whoever is asked: a scorer about groups, a judge about pairs of responses in both orders."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from basereward.benchmarks.items import BenchmarkItem
from basereward.benchmarks.judged import Shown, shown_pairs
from basereward.benchmarks.records import RowRecord, judge_record, score_records
from basereward.data.outcomes import JudgeQuestion
from basereward.data.progress import Progress, no_progress
from basereward.data.schema import count_parts
from basereward.scoring.interface import Judge, Scorer, checked_scores, checked_verdicts

# From items by their number to the records of their rows.
Ask = Callable[[Mapping[int, BenchmarkItem]], list[RowRecord]]
# Items that are asked about at once, and lost together by an interruption.
BATCH_ITEMS = 16


def ask_scorer(scorer: Scorer) -> Ask:
    """Return how a scorer is asked: every response of an item once.

    One that compares responses is asked row by row: what a row shows must not depend on which others there are.

    Raises:
        ScoringError: when called, the scorer did not return one score for each response.
    """

    def ask(items: Mapping[int, BenchmarkItem]) -> list[RowRecord]:
        asked = [
            (number, own)
            for number, item in items.items()
            for own in (map(item.take_row, item.rows) if scorer.about.compares else (item,))
        ]
        groups = iter(checked_scores(scorer, [group for _, item in asked for group in item.groups]))
        scores = [[score for _ in item.groups for score in next(groups)] for _, item in asked]
        return [
            record
            for (number, item), own in zip(asked, scores, strict=True)
            for record in score_records(item, number, own)
        ]

    return ask


def ask_judge(judge: Judge, samples: int = 1) -> Ask:
    """Return how a judge is asked: every two responses that a row compares, in each order.

    Each distinct question is asked once, or ``samples`` times, whatever the label: which order shows the correct
    response first is known to the records alone.

    Raises:
        ScoringError: when called, the judge cannot be asked, or did not answer each question.
    """

    def ask(items: Mapping[int, BenchmarkItem]) -> list[RowRecord]:
        asked = {
            number: sorted({own for row in item.rows for own in shown_pairs(row)}) for number, item in items.items()
        }
        questions = [_question(items[number], shown) for number, own in asked.items() for shown in own]
        answers = iter(checked_verdicts(judge, [question for question in questions for _ in range(samples)]))
        said = {
            number: {shown: tuple(next(answers) for _ in range(samples)) for shown in own}
            for number, own in asked.items()
        }
        return [judge_record(row, number, said[number]) for number, item in items.items() for row in item.rows]

    return ask


def _question(item: BenchmarkItem, shown: Shown) -> JudgeQuestion:
    owners = [(group, response) for group in item.groups for response in group.responses]
    (first, one), (second, other) = (owners[place] for place in shown)
    images, videos = first.images, first.videos
    if second is not first:
        # Groups of their own hold the images of the prompt, which are shown once, and behind them those of a response.
        images += second.images[count_parts(item.prompt, "image") :]
        videos += second.videos[count_parts(item.prompt, "video") :]
    return JudgeQuestion(item.prompt, (one.messages, other.messages), images, videos)


def collect(
    ask: Ask,
    items: Sequence[BenchmarkItem],
    rows: Sequence[Collection[int]],
    known: Mapping[int, RowRecord] | None = None,
    keep: Callable[[Iterable[RowRecord]], None] = lambda records: None,
    on_progress: Progress = no_progress,
) -> list[RowRecord]:
    """Return the records of all rows in order; nothing is asked about rows that are known.

    Args:
        rows: for each item its rows.
        keep: gets new records as they come.
        on_progress: called with the number of items done and to do.
    """
    records = dict(known or {})
    todo = [number for number, own in enumerate(rows) if any(row not in records for row in own)]
    done = len(rows) - len(todo)
    for start in range(0, len(todo), BATCH_ITEMS):
        batch = todo[start : start + BATCH_ITEMS]
        fresh = ask({number: _unknown_part(items[number], records) for number in batch})
        keep(fresh)
        records |= {record.row: record for record in fresh}
        done += len(batch)
        on_progress(done, len(rows))
    return [records[row] for row in sorted(records)]


def _unknown_part(item: BenchmarkItem, known: Mapping[int, RowRecord]) -> BenchmarkItem:
    return dataclasses.replace(item, rows=tuple(row for row in item.rows if row.row not in known))
