"""From results to a Markdown table, and the checks that make it worth reading."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from job import Data

Results = dict[str, list[dict[str, Any]]]

# Losses of the same step on two sides may differ by rounding alone.
LOSS_TOLERANCE = 1e-4
FIRST_LOSS_TOLERANCE = 0.1
CHECKPOINTED = "+checkpointing"
TITLES = {"image": "Image and text", "text": "Text only"}


@dataclass(frozen=True)
class Side:
    """One row of the table.

    ``environment`` names a requirements file, or None for the project's own; ``computes`` says which tokens have to go
    through the model: ``padded`` (two sequences a pair), ``distinct`` (each sequence of a step once, padded),
    ``unpadded`` (two a pair) or ``shared``.
    """

    name: str
    title: str
    data: Data
    script: str
    variant: str
    environment: str | None
    computes: str


def check(sides: Sequence[Side], results: Results, facts: dict[str, Any]) -> list[str]:
    """Return what is wrong: failures, other tokens than asked for, other losses than basereward's, other threads."""
    problems = []
    for side in sides:
        for key in (side.name, side.name + CHECKPOINTED):
            for result in results.get(key, []):
                if "error" in result:
                    problems.append(f"{key} did not run: {result['error']}")
                    continue
                reference = _reference(sides, side, results, key)
                problems += [f"{key}: {found}" for found in _differences(result, reference, side, facts[side.data])]
    return list(dict.fromkeys(problems))


def _differences(
    result: dict[str, Any], reference: dict[str, Any] | None, side: Side, facts: dict[str, Any]
) -> list[str]:
    found = []
    tokens = facts["tokens_per_pair"][side.computes]
    if not math.isclose(result["tokens_per_pair"], tokens, rel_tol=1e-6):
        found.append(
            f"{result['tokens_per_pair']:.1f} tokens a pair went through the text model, expected {tokens:.1f}"
        )
    patches = facts["patches_per_pair"][side.computes]
    if not math.isclose(result["patches_per_pair"], patches, rel_tol=1e-6):
        found.append(f"{result['patches_per_pair']:.1f} patches a pair, expected {patches:.1f}")
    if result["threads"] != 1:
        found.append(f"{result['threads']} threads, expected 1")
    if abs(result["losses"][0] - math.log(2)) > FIRST_LOSS_TOLERANCE:
        found.append(f"the first loss is {result['losses'][0]:.4f}, expected about ln 2")
    if reference is None:
        return found
    gaps = [abs(own - other) for own, other in zip(result["losses"], reference["losses"], strict=False)]
    if not all(gap < LOSS_TOLERANCE for gap in gaps):
        found.append(f"losses {result['losses']} differ from those of basereward, {reference['losses']}")
    if result["trained_parameters"] != reference["trained_parameters"]:
        found.append(f"{result['trained_parameters']} weights train, expected {reference['trained_parameters']}")
    return found


def _reference(sides: Sequence[Side], side: Side, results: Results, key: str) -> dict[str, Any] | None:
    """Return the first result of basereward, shared, on the same data and with the same checkpointing."""
    name = next(other.name for other in sides if other.data == side.data and other.computes == "shared")
    found = results.get(name + CHECKPOINTED * key.endswith(CHECKPOINTED), [])
    return found[0] if found and "error" not in found[0] else None


def render(sides: Sequence[Side], results: Results, facts: dict[str, Any], jitter: float) -> str:
    """Return one Markdown table for each kind of data, with what was measured above it."""
    parts = []
    for data, title in TITLES.items():
        own = [side for side in sides if side.data == data]
        for suffix, mode in (("", "without checkpointing"), (CHECKPOINTED, "with checkpointing")):
            rows = [_row(side, own[-1].name, results, suffix) for side in own if results.get(side.name + suffix)]
            if rows:
                parts.append(_heading(title, mode, facts[data], jitter))
                parts.append(
                    "| system | CPU s per pair | times `split` | text tokens | image patches | first loss |\n"
                    "|---|---|---|---|---|---|\n" + "\n".join(rows)
                )
    return "\n\n".join([*parts, "Versions:\n" + "\n".join(_versions(sides, results))])


def _heading(title: str, mode: str, facts: dict[str, Any], jitter: float) -> str:
    return (
        f"**{title}, {mode}.** Prompt {facts['prompt_tokens']:.0f} tokens ({facts['image_tokens']:.0f} of the image), "
        f"responses {facts['response_tokens']:.0f} on average (±{jitter:.0%}), "
        f"{facts['pairs_per_prompt']} pairs of {facts['responses_per_prompt']} responses to each prompt; "
        f"{facts['parameters'] / 1e6:.1f} M weights. Of the operations of separate sequences "
        f"{facts['vision_share']:.0%} are vision; sharing needs 1/{facts['flops_ratio']:.2f} of them."
    )


def _row(side: Side, reference: str, results: Results, suffix: str) -> str:
    found = results[side.name + suffix]
    if "error" in found[-1]:
        return f"| {side.title} | did not run | | | | |"
    seconds = [result["cpu_seconds_per_pair"] for result in found]
    base = [result.get("cpu_seconds_per_pair") for result in results.get(reference + suffix, [])]
    ratios = [own / other for own, other in zip(seconds, base, strict=False) if other]
    first = found[0]
    cells = [
        side.title,
        _spread(seconds),
        _spread(ratios) if ratios else "",
        f"{first['tokens_per_pair']:,.0f}",
        f"{first['patches_per_pair']:,.0f}",
        f"{first['losses'][0]:.6f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


def _versions(sides: Sequence[Side], results: Results) -> list[str]:
    """Return one line for each environment that ran."""
    lines = {}
    for side in sides:
        runs = [*results.get(side.name, []), *results.get(side.name + CHECKPOINTED, [])]
        found: dict[str, str] = next((result["versions"] for result in runs if "versions" in result), {})
        text = ", ".join(f"{name} {number}" for name, number in found.items())
        lines[side.environment] = f"- {text}" if found else lines.get(side.environment, "")
    return [line for line in lines.values() if line]
