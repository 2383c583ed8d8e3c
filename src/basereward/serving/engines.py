"""What computes: units of work are prepared in any thread, chosen to go together, and computed one call at a time."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from basereward.data.outcomes import About, Failure, Judged, JudgeQuestion, Scored
from basereward.data.schema import ResponseGroup
from basereward.scoring.compose.calibrated import Calibrated
from basereward.scoring.interface import Judge, Scorer, checked_scores, checked_verdicts

if TYPE_CHECKING:
    from basereward.encoding.template import Template

Asked = ResponseGroup | JudgeQuestion
Outcome = Scored | Judged
# Groups or questions that a model without rows of tokens is given at once.
ITEMS_AT_ONCE = 64


class Beginning(NamedTuple):
    """The first tokens of a unit, which a row computes once for all units that have the same ``key``."""

    key: Hashable
    tokens: int


class Unit(NamedTuple):
    """A part of an item that is computed whole.

    Args:
        places: which outcomes of the item it gives.
        content: what the engine computes.
        tokens: what it takes of a row.
        beginnings: what it can share with others, the longest first.
    """

    places: tuple[int, ...]
    content: Any
    tokens: int = 1
    beginnings: tuple[Beginning, ...] = ()


class Prepared(NamedTuple):
    """The units of an item, and outcomes that are known without computing."""

    units: list[Unit]
    known: dict[int, Outcome]


class ComputedBatch(NamedTuple):
    """The outcomes of every unit, and the tokens that were computed for all of them."""

    outcomes: list[list[Outcome]]
    tokens: int


class Engine(Protocol):
    """Computes outcomes of items.

    Attributes:
        about: the model.
        template: turns its conversations into text; None if it has none of its own.
    """

    about: About
    template: "Template | None"

    @property
    def cap(self) -> int:
        """The most tokens that are computed together."""
        ...

    def size(self, item: Any) -> int:
        """Return the number of outcomes of an item."""
        ...

    def prepare(self, item: Any) -> Prepared:
        """Return the units of an item; called from several threads."""
        ...

    def compute(self, units: Sequence[Unit]) -> ComputedBatch:
        """Return the outcomes of units; called from one thread."""
        ...


@runtime_checkable
class StepScorer(Protocol):
    """A scorer whose steps are public, so that they can run in threads of their own."""

    def encode(self, group: ResponseGroup, number: int = 0) -> Any:
        """Return the pieces of a group."""
        ...

    def rows(self, pieces: Any) -> Any:
        """Return rows of pieces."""
        ...

    def compute(self, row: Any) -> Any:
        """Return the scores of a row."""
        ...


class ScorerEngine:
    """Any scorer: whole groups, as many as wait."""

    cap = ITEMS_AT_ONCE

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.about = scorer.about
        self.template: Template | None = getattr(scorer, "template", None)

    def size(self, item: ResponseGroup) -> int:
        """Return the number of responses."""
        return len(item.responses)

    def prepare(self, item: ResponseGroup) -> Prepared:
        """Return the group as it is."""
        return Prepared([Unit(tuple(range(self.size(item))), item)], {})

    def compute(self, units: Sequence[Unit]) -> ComputedBatch:
        """Score the groups."""
        scores = checked_scores(self._scorer, [unit.content for unit in units])
        return ComputedBatch([list(own) for own in scores], 0)


class CalibratedEngine:
    """What computes raw scores, and the maps of a calibration behind it.

    Args:
        engine: of the scorer that is calibrated.
        calibrated: maps its scores.
    """

    def __init__(self, engine: Engine, calibrated: Calibrated) -> None:
        self._engine = engine
        self._calibrated = calibrated
        self.about = calibrated.about
        self.template: Template | None = engine.template

    @property
    def cap(self) -> int:
        """The most tokens that are computed together."""
        return self._engine.cap

    def size(self, item: ResponseGroup) -> int:
        """Return the number of responses."""
        return len(item.responses)

    def prepare(self, item: ResponseGroup) -> Prepared:
        """Prepare a group for its raw scores, and read what the maps see of it."""
        units, known = self._engine.prepare(item)
        form = self._calibrated.form(item)
        own = [form if isinstance(form, Failure) else form.take(unit.places) for unit in units]
        return Prepared(
            [unit._replace(content=(unit.content, seen)) for unit, seen in zip(units, own, strict=True)], known
        )

    def compute(self, units: Sequence[Unit]) -> ComputedBatch:
        """Compute raw scores and map them."""
        raw = self._engine.compute([unit._replace(content=unit.content[0]) for unit in units])
        mapped: list[list[Outcome]] = [
            list(self._calibrated.map_scores(unit.content[1], own))  # type: ignore[arg-type]
            for unit, own in zip(units, raw.outcomes, strict=True)
        ]
        return ComputedBatch(mapped, raw.tokens)


class JudgeEngine:
    """A judge: whole questions, as many as wait."""

    cap = ITEMS_AT_ONCE

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.about = judge.about
        self.template: Template | None = None

    def size(self, item: JudgeQuestion) -> int:
        """Return one: the verdict."""
        return 1

    def prepare(self, item: JudgeQuestion) -> Prepared:
        """Return the question as it is."""
        return Prepared([Unit((0,), item)], {})

    def compute(self, units: Sequence[Unit]) -> ComputedBatch:
        """Ask the judge."""
        return ComputedBatch([[one] for one in checked_verdicts(self._judge, [unit.content for unit in units])], 0)
