"""Checkpoints that are complete or absent, and logs that end where the checkpoint does."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from basereward.data.io import replacing
from basereward.errors import TrainingError

CHECKPOINTS = "checkpoints"
STAGING = ".incomplete"
# Names every file of a checkpoint with its size; it is written last.
FILES = "files.json"


class FoundCheckpoint(NamedTuple):
    """The checkpoint to go on from, and what is wrong with newer ones."""

    path: Path | None
    skipped: tuple[str, ...]


def find_checkpoint(folder: Path) -> FoundCheckpoint:
    """Return the newest checkpoint that has all its files.

    Raises:
        TrainingError: there are checkpoints and none of them is complete; a run would start again in silence.
    """
    skipped: list[str] = []
    for path in sorted(folder.glob("checkpoint-*"), key=checkpoint_step, reverse=True):
        if not (problem := missing_part(path)):
            return FoundCheckpoint(path, tuple(skipped))
        skipped.append(f"{path.name} is incomplete: {problem}")
    if skipped:
        raise TrainingError(
            f"No checkpoint in {folder} can be resumed from. {'. '.join(skipped)}. Restore the files, or start a new "
            "run with another --out."
        )
    return FoundCheckpoint(None, ())


def checkpoint_step(path: Path) -> int:
    """Return the step in a checkpoint's name."""
    return int(path.name.rpartition("-")[2])


def list_files(folder: Path) -> None:
    """Write down the files of a checkpoint with their sizes."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != FILES)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    (folder / FILES).write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")


def missing_part(folder: Path) -> str | None:
    """Return what a checkpoint lacks of its own list, None if it is complete."""
    try:
        sizes = json.loads((folder / FILES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"it has no readable {FILES}"
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if (found := path.stat().st_size) != size:
            return f"{name} has {found} bytes, not {size}"
    return None


def publish(staged: Path, folder: Path, keep: int, best: int | None = None) -> Path:
    """List the files of a complete checkpoint, rename it into place, then delete all but the newest and the best.

    Args:
        staged: the checkpoint under ``STAGING``.
        folder: of the checkpoints.
        keep: how many of the newest stay.
        best: the step of one that stays beside them.

    Deleting starts with a rename too, so that a kill leaves no half checkpoint under a valid name.
    """
    list_files(staged)
    final = replace_folder(staged, folder / staged.name)
    for old in sorted(folder.glob("checkpoint-*"), key=checkpoint_step)[:-keep]:
        if checkpoint_step(old) != best:
            discard(old)
    return final


def replace_folder(staged: Path, final: Path) -> Path:
    """Give a folder that is complete under ``STAGING/`` its name, in place of what had it."""
    if final.exists():
        discard(final)
    staged.rename(final)
    staged.parent.rmdir()
    return final


def discard(folder: Path) -> None:
    """Delete a folder that may be taken for a checkpoint."""
    grave = folder.with_name(f"{STAGING}-{folder.name}")
    shutil.rmtree(grave, ignore_errors=True)
    folder.rename(grave)
    shutil.rmtree(grave)


def clear_leftovers(folder: Path) -> None:
    """Delete what a killed save or deletion left behind."""
    for path in folder.glob(f"{STAGING}*"):
        shutil.rmtree(path)


def cut_log(file: Path, step: int) -> None:
    """Drop the lines of ``metrics.jsonl`` that a run resumed at ``step`` writes again: later ones and the summary."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the run was killed while it wrote this line
        if entry.get("step", 0) <= step and "train_runtime" not in entry:
            kept.append(line)
    with replacing(file) as temporary:
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
