"""What a merged model says of itself: ``merge.json``."""

from pathlib import Path
from typing import Literal

from basereward.configuration import Section
from basereward.data.io import write_json
from basereward.errors import CheckpointError
from basereward.models.merging.distance import LIMIT, UNRELATED, MergedModule

REPORT = "merge.json"


class MeasuredModel(Section):
    """A model's accuracy on held-out pairs with its 95 % interval (Wilson); ties and failures are wrong."""

    name: str
    accuracy: float
    low: float
    high: float
    kept: bool = True
    """Whether it is in the soup; of the soup itself true."""


class MergeReport(Section):
    """What was merged, how, and what came from where."""

    kind: Literal["soup", "greedy soup", "graft"]
    members: tuple[str, ...]
    """The models whose weights are in it."""
    formula: str
    modules: tuple[MergedModule, ...]
    pairs: int = 0
    """Held-out pairs that accuracies were measured on."""
    measured: tuple[MeasuredModel, ...] = ()
    """Each model, and the soup last."""
    notes: tuple[str, ...] = ()

    @property
    def far(self) -> tuple[MergedModule, ...]:
        """The modules whose weights are too far apart to be connected."""
        return tuple(own for own in self.modules if own.distance is not None and own.distance > LIMIT)

    def card_lines(self) -> list[str]:
        """Return the tables of modules and of accuracies, and the notes, as Markdown."""
        rows = ["| module | from | parameters | distance |", "|---|---|---|---|"]
        rows += ["| " + " | ".join(line) + " |" for line in self.lines()]
        if self.measured:
            rows += ["", f"On {self.pairs:,} held-out pairs:", "", "| model | accuracy | 95 % interval | kept |"]
            rows += ["|---|---|---|---|"]
            rows += [
                f"| {own.name} | {own.accuracy:.1%} | {own.low:.1%} to {own.high:.1%} | {'yes' if own.kept else 'no'} |"
                for own in self.measured
            ]
        return [*rows, *(f"\n{note}" for note in self.notes)]

    def lines(self) -> list[tuple[str, str, str, str]]:
        """Return module, origin, parameters and distance for people."""
        return [
            (own.name, own.origin, f"{own.parameters:,}", "" if own.distance is None else f"{own.distance:.4f}")
            for own in self.modules
        ]


def check_connected(report: MergeReport, advice: str) -> None:
    """Check that no module is further apart than ``LIMIT``.

    Args:
        advice: what to do about it.

    Raises:
        CheckpointError: one is; the average of weights that are not connected is no model.
    """
    if far := report.far:
        worst = max(far, key=lambda own: own.distance or 0.0)
        raise CheckpointError(
            f"The weights are not connected: those of {worst.name} are {worst.distance:.2f} apart ({len(far)} of "
            f"{len(report.modules)} modules beyond {LIMIT:.2f}; {UNRELATED:.2f} is that of weights with nothing in "
            f"common). {advice}"
        )


def write_report(report: MergeReport, folder: Path) -> None:
    """Write ``merge.json`` into a model folder; its card says the same in words."""
    write_json(folder / REPORT, report.model_dump(mode="json"))


def read_merge_report(folder: Path) -> MergeReport | None:
    """Return what a model folder was merged of, None of one that was not.

    Raises:
        CheckpointError: the file is not what this version writes.
    """
    path = folder / REPORT
    if not path.is_file():
        return None
    try:
        return MergeReport.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} is no report of a merge ({reason}); delete it to leave it out.") from error
