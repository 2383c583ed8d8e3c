"""What a judge said of two responses: answers in both orders, and the points that they give."""

from dataclasses import dataclass
from typing import Literal, TypeGuard, get_args

from basereward.benchmarks.items import ItemRow, Side
from basereward.data.outcomes import Choice, Failure, Judged, Verdict
from basereward.errors import DataError

Order = Literal["correct_first", "correct_second"]
ORDERS: tuple[Order, ...] = get_args(Order)
RIGHT: dict[Order, Choice] = {"correct_first": 0, "correct_second": 1}
# Places of two responses among those of their item, in the order in which they are shown.
Shown = tuple[int, int]


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A correct and a rejected response of a row, by their numbers in the file, and the answers in each order.

    The answers of an order are samples of one question, as many in both orders.
    """

    correct: int
    rejected: int
    correct_first: tuple[Judged, ...]
    correct_second: tuple[Judged, ...]

    def answers(self, order: Order) -> tuple[Judged, ...]:
        """Return what was said in one order, sample by sample."""
        return self.correct_first if order == "correct_first" else self.correct_second

    @property
    def share(self) -> float:
        """The share of its judgements that the correct response won; a tie is half."""
        won = [points_of(answer, order) for order in ORDERS for answer in self.answers(order)]
        return sum(won) / len(won)

    @property
    def all_answers(self) -> tuple[Judged, ...]:
        """The answers of both orders."""
        return (*self.correct_first, *self.correct_second)

    @property
    def failures(self) -> list[Failure]:
        """The failures among the answers."""
        return [answer for answer in self.all_answers if isinstance(answer, Failure)]


def points_of(answer: Judged, order: Order) -> float:
    """Return 1 for the correct response, 1/2 for a tie, and 0 otherwise: nothing parsable is not right."""
    choice = answer.choice if isinstance(answer, Verdict) else None
    return 1.0 if choice == RIGHT[order] else 0.5 if choice == "tie" else 0.0


def names_one(answer: Judged) -> TypeGuard[Verdict]:
    """Return whether an answer names one of the responses; a tie does not."""
    return isinstance(answer, Verdict) and answer.choice in RIGHT.values()


def file_order(first: Side | None) -> Order:
    """Return the order in which the file shows two responses.

    Raises:
        DataError: it is not known.
    """
    if first is None:
        raise DataError("A rule asks which response the benchmark's file shows first, but its loader does not tell.")
    return "correct_first" if first == "correct" else "correct_second"


def shown_pairs(row: ItemRow) -> list[Shown]:
    """Return what a row asks: each correct with each rejected response, in both orders."""
    return [shown for right in row.correct for wrong in row.rejected for shown in ((right, wrong), (wrong, right))]
