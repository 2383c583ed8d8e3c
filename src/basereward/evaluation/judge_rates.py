"""How good a judge is apart from any protocol: accuracy, consistency of orders, ties, unparsable answers, position.

A judged pair is asked in two orders: two judgements a sample. A failed one, for which there is no answer, is in no
rate, and a row whose label is a tie in none either. A tie and an unparsable answer are never right. Intervals are
95 %, by prompts.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from basereward.benchmarks.formulas import GroupOf, Metric, combined_metric
from basereward.benchmarks.judged import ORDERS, RIGHT, Order, names_one
from basereward.benchmarks.records import RowRecord
from basereward.data.outcomes import Judged, Verdict
from basereward.evaluation.result import Judgements
from basereward.statistics import Stratum

RATE_DEFINITIONS = {
    "pair_accuracy": "judgements that name the correct response / answered judgements, both orders pooled",
    "pair_accuracy_correct_first": "the same where the correct response is shown first",
    "pair_accuracy_correct_second": "the same where the correct response is shown second",
    "pair_accuracy_parsable": "judgements that name the correct response / judgements with a verdict, ties included",
    "pair_accuracy_consistent": "pairs whose correct response is named in both orders / consistent pairs",
    "order_consistency": "pairs with the same response, or a tie, in both orders / pairs answered in both orders",
    "tie_rate": "ties / answered judgements",
    "unparsable_rate": "answers without one clear verdict / answered judgements",
    "first_position_rate": "judgements that name the response shown first / judgements that name one",
}


class Judgement(NamedTuple):
    """An answered question, the order in which it was asked, and the item that it is about."""

    verdict: Verdict
    order: Order
    item: int


class BothOrders(NamedTuple):
    """What was said of two responses in both orders."""

    first: Verdict
    second: Verdict
    item: int


def judge_rates(records: Sequence[RowRecord]) -> dict[str, Metric]:
    """Return every rate of ``RATE_DEFINITIONS``."""
    decided = [record for record in records if not record.tied]
    said = list(_judgements(decided))
    both = list(_both_orders(decided))
    parsable = [own for own in said if own.verdict.choice != "unparsable"]
    consistent = [own for own in both if is_consistent(own.first, own.second)]
    naming = [own for own in said if names_one(own.verdict)]
    return {
        "pair_accuracy": _share(said, _is_right),
        **{
            f"pair_accuracy_{order}": _share([own for own in said if own.order == order], _is_right) for order in ORDERS
        },
        "pair_accuracy_parsable": _share(parsable, _is_right),
        "pair_accuracy_consistent": _share(consistent, lambda own: own.first.choice == RIGHT["correct_first"]),
        "order_consistency": _share(both, lambda own: is_consistent(own.first, own.second)),
        "tie_rate": _share(said, lambda own: own.verdict.choice == "tie"),
        "unparsable_rate": _share(said, lambda own: own.verdict.choice == "unparsable"),
        "first_position_rate": _share(naming, lambda own: own.verdict.choice == 0),
    }


def is_consistent(first: Judged, second: Judged) -> bool:
    """Return whether two orders name the same response or call a tie; what is unparsable agrees with nothing."""
    choices = [answer.choice for answer in (first, second) if isinstance(answer, Verdict)]
    return choices == ["tie", "tie"] or set(choices) == set(RIGHT.values())


def describe_judgements(records: Sequence[RowRecord], group_of: GroupOf) -> Judgements:
    """Return how many judgements there are of each outcome, and the rates of each group."""
    pairs = [pair for record in records for pair in record.judged]
    answers = [answer for pair in pairs for answer in pair.all_answers]
    verdicts = [answer for answer in answers if isinstance(answer, Verdict)]
    choices = Counter(verdict.choice for verdict in verdicts)
    groups: dict[str, list[RowRecord]] = {}
    for record in records:
        if (name := group_of(record.subset)) is not None:
            groups.setdefault(name, []).append(record)
    return Judgements(
        samples=max(len(pair.correct_first) for pair in pairs),
        asked=len(answers),
        failed=len(answers) - len(verdicts),
        first=choices[0],
        second=choices[1],
        tie=choices["tie"],
        unparsable=choices["unparsable"],
        cut_off=sum(verdict.is_cut_off for verdict in verdicts),
        groups={name: judge_rates(own) for name, own in groups.items()},
    )


def _judgements(records: Sequence[RowRecord]) -> Iterator[Judgement]:
    for record in records:
        for pair in record.judged:
            for order in ORDERS:
                for answer in pair.answers(order):
                    if isinstance(answer, Verdict):
                        yield Judgement(answer, order, record.item)


def _both_orders(records: Sequence[RowRecord]) -> Iterator[BothOrders]:
    for record in records:
        for pair in record.judged:
            for first, second in zip(pair.correct_first, pair.correct_second, strict=True):
                if isinstance(first, Verdict) and isinstance(second, Verdict):
                    yield BothOrders(first, second, record.item)


def _is_right(judgement: Judgement) -> bool:
    return judgement.verdict.choice == RIGHT[judgement.order]


T = TypeVar("T", Judgement, BothOrders)


def _share(among: Sequence[T], test: Callable[[T], bool]) -> Metric:
    return combined_metric([Stratum([float(test(own)) for own in among], [own.item for own in among])])
