"""Checkpoints that are complete or absent, and logs that end where the checkpoint does."""

import json
import shutil
from pathlib import Path

CHECKPOINTS = "checkpoints"
STAGING = ".incomplete"
_NEEDED = ("config.json", "trainer_state.json", "scheduler.pt")


def last_complete_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that has all its parts, or None."""
    found = [path for path in folder.glob("checkpoint-*") if all((path / name).exists() for name in _NEEDED)]
    return max(found, key=checkpoint_step, default=None)


def checkpoint_step(path: Path) -> int:
    """Return the step in a checkpoint's name."""
    return int(path.name.rpartition("-")[2])


def publish(staged: Path, folder: Path, keep: int) -> Path:
    """Rename a complete checkpoint into place, then delete all but the newest ``keep``.

    Deleting starts with a rename too, so that a kill leaves no half checkpoint under a valid name.
    """
    final = folder / staged.name
    if final.exists():
        discard(final)
    staged.rename(final)
    complete = sorted(folder.glob("checkpoint-*"), key=checkpoint_step)
    for old in complete[:-keep]:
        discard(old)
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
    for line in file.read_text().splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the run was killed while it wrote this line
        if entry.get("step", 0) <= step and "train_runtime" not in entry:
            kept.append(line)
    temporary = file.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in kept))
    temporary.replace(file)
