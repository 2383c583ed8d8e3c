"""The page of a calibration: what was removed, what it was chosen from, and what it gains on held-out pairs."""

from collections.abc import Iterator

import numpy as np

from basereward.reporting import plots
from basereward.reporting.documents import Chapter, Document, Headline
from basereward.reporting.plots import Line, Panel
from basereward.reporting.reliability_parts import reliability_chapter
from basereward.reporting.tables import MISSING, Table, count, percent
from basereward.scoring.calibration.artifact import Calibration
from basereward.scoring.calibration.curves import Curve
from basereward.scoring.calibration.maps import Isotonic, Temperature, ZScore

CHOICE_NOTE = (
    "Loss of pairs that were not fitted on, by folds of prompts: log loss, for the visual offset the squared error of "
    "a prompt's mean reward. The gain is over none, its interval is 95 % for all candidates of a stage together. Of "
    "those whose interval lies above 0 the simplest within a standard error of the best is taken."
)
_UNITS = {"length": "characters", "lists": "list items", "bold": "bold passages", "code": "blocks of code"}
_POINTS = 100
BIAS_NOTE = "What is subtracted from a reward, in its unit, with mean 0 over the reference set."


def build_calibration_page(calibration: Calibration) -> Document:
    """Return the page of a calibration.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    stored = calibration.model_dump(mode="json")
    return Document(
        kind="Calibration of",
        name=calibration.model.name,
        headlines=list(_headlines(calibration)),
        sections=list(_chapters(calibration)),
        details={key: stored[key] for key in ("data", "model", "maps", "bounds", "versions")},
    )


def candidate_table(calibration: Calibration) -> Table:
    """Return what the maps were chosen from."""
    rows = [
        (
            f"{own.stage}: {own.name}",
            f"{own.loss:.4f}",
            percent(own.accuracy),
            MISSING if own.name == "none" else f"{own.gain:+.4f}",
            MISSING if own.name == "none" else f"{own.low:+.4f} to {own.high:+.4f}",
            "chosen" if own.is_chosen else "",
        )
        for own in calibration.candidates
    ]
    return Table(("candidate", "loss", "accuracy", "gain", "interval", ""), rows)


def gain_table(calibration: Calibration) -> Table:
    """Return accuracy and reliability before and after on held-out pairs."""
    before, after = calibration.before, calibration.after
    rows = [
        ("accuracy", percent(calibration.accuracy_before), percent(calibration.accuracy_after)),
        ("ECE", percent(before.ece), percent(after.ece)),
        ("ECE by noise alone", percent(before.chance), percent(after.chance)),
        ("Brier score", f"{before.brier:.4f}", f"{after.brier:.4f}"),
        ("log loss", f"{before.log_loss:.4f}", f"{after.log_loss:.4f}"),
    ]
    return Table((f"{calibration.data.held_out:,} held-out pairs", "before", "after"), rows)


def calibration_lines(calibration: Calibration) -> list[str]:
    """Return in words what is changed, and what the bounds say."""
    maps, bounds, data = calibration.maps, calibration.bounds, calibration.data
    lines = [f"bias of {own.feature}: {own.curve.rise:.4g} from few to many" for own in maps.biases]
    lines += [f"visual offset: {maps.visual.rise:+.4g} from few pixels to many"] if maps.visual else []
    lines += [_scale_line(maps.scale)] if maps.scale else []
    reach = f"{bounds.text:.4g}"
    if bounds.text != bounds.images:
        reach += f" (text) or {bounds.images:.4g} (images)"
    lines.append(
        f"of new pairs at least {100 * (1 - bounds.alpha):.4g} % are called rightly or not called, as those with "
        f"margins up to {reach}, by {bounds.pairs:,} held-out prompts"
    )
    lines.append(f"{data.pairs:,} pairs of {data.prompts:,} prompts of {data.name}")
    lines += [f"{number} x {reason}: no score, left out" for reason, number in data.failed.items()]
    return lines


def _scale_line(scale: Temperature | ZScore | Isotonic) -> str:
    if isinstance(scale, Temperature):
        is_one = scale.text == scale.images
        return f"temperature: {scale.text:.4g}" + ("" if is_one else f" (text), {scale.images:.4g} (images)")
    if isinstance(scale, ZScore):
        return f"z-score: mean {scale.mean:.4g}, standard deviation {scale.sd:.4g}"
    return f"isotonic: log odds of winning against a response of the reference set, by {scale.temperature:.4g}"


def _headlines(calibration: Calibration) -> Iterator[Headline]:
    yield Headline("accuracy", percent(calibration.accuracy_after), f"before {percent(calibration.accuracy_before)}")
    yield Headline("ECE", percent(calibration.after.ece), f"before {percent(calibration.before.ece)}")
    yield Headline("removed", ", ".join(calibration.maps.names))
    yield Headline("pairs", count(calibration.data.pairs), f"{count(calibration.data.held_out)} held out")


def _chapters(calibration: Calibration) -> Iterator[Chapter]:
    yield Chapter("What is gained", table=gain_table(calibration), lines=calibration_lines(calibration))
    if panels := _panels(calibration):
        yield Chapter("What is removed", BIAS_NOTE, plots.line_panels(panels, columns=2).decode())
    yield Chapter("The choice", CHOICE_NOTE, table=candidate_table(calibration))
    yield reliability_chapter({"before": calibration.before, "after": calibration.after})


def _panels(calibration: Calibration) -> list[Panel]:
    maps = calibration.maps
    panels = [_panel(own.feature, _UNITS.get(own.feature, own.feature), own.curve) for own in maps.biases]
    panels += [_panel("images", "pixels of the prompt", maps.visual)] if maps.visual else []
    if isinstance(maps.scale, Isotonic):
        x = np.linspace(maps.scale.curve.x[0], maps.scale.curve.x[-1], _POINTS)
        line = Line(x.tolist(), maps.scale.curve.at(x).tolist())
        panels.append(Panel("Log odds of winning", "reward without biases", {"log odds": line}))
    return panels


def _panel(title: str, unit: str, curve: Curve) -> Panel:
    places = np.linspace(curve.x[0], curve.x[-1], _POINTS)
    # Features are log(1 + n), and a logarithmic axis has no place for n = 0.
    line = Line(np.exp(places).tolist(), curve.at(places).tolist())
    return Panel(f"Bias of {title}", f"{unit} + 1", {title: line}, is_log=True)
