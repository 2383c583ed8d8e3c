"""Result files of VLMEvalKit: ``WORK_DIR/MODEL/...MODEL_DATASET_acc.csv`` and their kin, one kind for each data set.

Source: github.com/open-compass/VLMEvalKit, run.py and vlmeval/dataset: report_acc, get_dimension_rating,
MathVista_acc, LLaVABench_score, WildVision.evaluate.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basereward.data.io import read_json
from basereward.errors import DataError
from basereward.rl.policy.benchmarks import Task
from basereward.rl.policy.numbers import FoundNumber, NotThere, Numbers, to_percent

# What stands behind MODEL_DATASET in the name of the file with the numbers; {judge} is the model that judged.
_ENDINGS = {
    "ImageMCQDataset": "_acc.csv",
    "MMERealWorld": "_rating.json",
    "LLaVABench": "_score.csv",
    "WildVision": "_{judge}_score.csv",
    "MathVista": "_{judge}_score.csv",
}


def read_vlmevalkit(task: Task, model: str, folder: Path, judge: str | None = None) -> Numbers:
    """Return the numbers of a data set, by column of Table 11.

    Args:
        judge: whose file counts, where those of several are there.

    Raises:
        DataError: a file of another layout, or several files of one kind, of which none is the newest.
    """
    found = _find(task, model, folder, judge)
    if found is None:
        return NotThere(f"there is no {model}_{task.name}{_ENDINGS[task.kind]}")
    file, by = found
    read = {"MMERealWorld": _rating, "LLaVABench": _relative, "WildVision": _win_rate, "MathVista": _overall}
    numbers, items = read.get(task.kind, _accuracy)(task, file)
    return {column: FoundNumber(value, file, items, by) for column, value in numbers.items()}


def _find(task: Task, model: str, folder: Path, judge: str | None) -> tuple[Path, str | None] | None:
    """Return the file with the numbers, and the judge in its name; links of the model's folder name the newest run."""
    before, _, after = f"{model}_{task.name}{_ENDINGS[task.kind]}".partition("{judge}")
    pattern = re.compile(re.escape(before) + (f"(?P<judge>.+){re.escape(after)}" if after else ""))
    named = [(path, own) for path in sorted(folder.rglob("*")) if (own := pattern.fullmatch(path.name))]
    found = {path: own.groupdict().get("judge") for path, own in named}
    if judge is not None and len(set(found.values())) > 1:
        found = {path: by for path, by in found.items() if by == judge}
    links = {path: by for path, by in found.items() if path.is_symlink()}
    chosen = links or found
    if len(chosen) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in chosen)
        raise DataError(f"{folder} has {len(chosen)} files for {task.name}: {names}; leave one, or name the --judge.")
    return next(iter(chosen.items()), None)


def _accuracy(task: Task, file: Path) -> tuple[dict[str, float], int | None]:
    rows = _rows(file, ("split", "Overall"))
    if len(rows) != 1:
        splits = ", ".join(row["split"] for row in rows)
        raise DataError(f"{file}: found the splits {splits}; expected one.")
    return _values(task, rows[0], file), None


def _win_rate(task: Task, file: Path) -> tuple[dict[str, float], int | None]:
    rows = _rows(file, ("Win Rate",))
    if len(rows) != 1:
        raise DataError(f"{file}: found {len(rows)} rows, expected one.")
    counts = [rows[0].get(name) for name in ("Much Better", "Better", "Tie", "Worse", "Much Worse")]
    return _values(task, rows[0], file), sum(int(float(count)) for count in counts if count)


def _relative(task: Task, file: Path) -> tuple[dict[str, float], int | None]:
    return _values(task, {"overall": _row(file, "split", "overall")}, file), None


def _overall(task: Task, file: Path) -> tuple[dict[str, float], int | None]:
    row = _row(file, "Task&Skill", "Overall")
    return _values(task, {"Overall": row}, file), int(float(row["tot"])) if row.get("tot") else None


def _rating(task: Task, file: Path) -> tuple[dict[str, float], int | None]:
    return _values(task, read_json(file), file), None


def _values(task: Task, content: Any, file: Path) -> dict[str, float]:
    found = {}
    for column, place in task.columns.items():
        value = content
        for name in place.key:
            if not isinstance(value, Mapping) or name not in value:
                has = ", ".join(value) if isinstance(value, Mapping) else type(value).__name__
                raise DataError(f"{file}: expected {' / '.join(place.key)}; there is no {name!r} in: {has}.")
            value = value[name]
        found[column] = to_percent(value, place, file)
    return found


def _row(file: Path, column: str, name: str) -> Mapping[str, str]:
    rows = [row for row in _rows(file, (column,)) if row[column] == name]
    if len(rows) != 1:
        raise DataError(f"{file}: found {len(rows)} rows with {name!r} under {column!r}, expected one.")
    return rows[0]


def _rows(file: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        header = reader.fieldnames or []
        if missing := [name for name in columns if name not in header]:
            raise DataError(f"{file}: found the columns {', '.join(header)}; expected {', '.join(missing)}.")
        return list(reader)
