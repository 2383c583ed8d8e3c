"""What external programs found of a policy: each number from the file that the program wrote, or missing and why.

A file of another layout is an error that names what was found and what was expected, never a number of another meaning.
"""

from collections.abc import Sequence
from pathlib import Path

from basereward.configuration import Section
from basereward.rl.policy.benchmarks import Program, task_of
from basereward.rl.policy.lmms_eval import read_lmms_eval
from basereward.rl.policy.numbers import NotThere
from basereward.rl.policy.vlmevalkit import read_vlmevalkit


class PolicyScore(Section):
    """One number of a policy on a benchmark."""

    benchmark: str
    column: str
    """Of the paper's Table 11."""
    value: float
    """In percent, as the table prints it."""
    task: str
    """What the program calls the benchmark."""
    file: str
    """Where it stands, within the folder that was read."""
    items: int | None = None
    """How many items it is about; None where the program does not say."""
    judge: str | None = None
    """The model that judged, where the program says it."""
    notes: tuple[str, ...] = ()


class PolicyResult(Section):
    """What one program found of a policy: ``policy-PROGRAM.json``."""

    policy: str
    program: Program
    scores: tuple[PolicyScore, ...]
    missing: dict[str, str]
    """Benchmarks without a number, and why."""


def read_results(
    policy: str, name: str, program: Program, folder: Path, benchmarks: Sequence[str], judge: str | None = None
) -> PolicyResult:
    """Return the numbers that a folder of results has of some benchmarks; the others are missing.

    Args:
        policy: what the result calls it.
        name: what VLMEvalKit's files call it.
        judge: the judge whose files count, where those of several are there.

    Raises:
        UnknownNameError: no such benchmark.
        DataError: a file of another layout.
    """
    scores: list[PolicyScore] = []
    missing: dict[str, str] = {}
    for benchmark in benchmarks:
        task = task_of(benchmark, program)
        if task is None:
            missing[benchmark] = f"{program} does not have it"
            continue
        vlmevalkit = program == "vlmevalkit"
        found = read_vlmevalkit(task, name, folder, judge) if vlmevalkit else read_lmms_eval(task, folder)
        if isinstance(found, NotThere):
            missing[benchmark] = found.why
            continue
        scores += [
            PolicyScore(
                benchmark=benchmark,
                column=column,
                value=own.value,
                task=task.name,
                file=own.file.relative_to(folder).as_posix(),
                items=own.items,
                judge=own.judge,
                notes=tuple(note for note in (*own.notes, task.caveat) if note),
            )
            for column, own in found.items()
        ]
    return PolicyResult(policy=policy, program=program, scores=tuple(scores), missing=missing)


def result_file(program: Program) -> str:
    """Return the name of the file with the result of a program."""
    return f"policy-{program}.json"
