"""What a merged model says of itself: ``merge.json``, and the model card beside it."""

from pathlib import Path
from typing import Literal

from basereward.configuration import Section
from basereward.data.io import replacing, write_json
from basereward.errors import CheckpointError
from basereward.models.merging.distance import LIMIT, UNRELATED, MergedModule

REPORT, CARD = "merge.json", "README.md"


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
    """Write ``merge.json`` and a model card into a model folder."""
    write_json(folder / REPORT, report.model_dump(mode="json"))
    with replacing(folder / CARD) as temporary:
        temporary.write_text(_card(report), encoding="utf-8")


def _card(report: MergeReport) -> str:
    rows = ["| module | from | parameters | distance |", "|---|---|---|---|"]
    rows += ["| " + " | ".join(line) + " |" for line in report.lines()]
    if report.measured:
        rows += ["", f"On {report.pairs:,} held-out pairs:", "", "| model | accuracy | 95 % interval | kept |"]
        rows += ["|---|---|---|---|"]
        rows += [
            f"| {own.name} | {own.accuracy:.1%} | {own.low:.1%} to {own.high:.1%} | {'yes' if own.kept else 'no'} |"
            for own in report.measured
        ]
    head = ["---", "tags: [reward-model, merge]", "---", "", f"# {report.kind.capitalize()} of reward models", ""]
    made = [f"Weights: `{report.formula}`, of", "", *(f"- {name}" for name in report.members), ""]
    notes = [f"\n{note}" for note in report.notes]
    return "\n".join([*head, *made, *rows, *notes]) + "\n"
