"""Model folders that the lab writes: in one that has its ``config.json`` everything else is, too."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from basereward.data.work import open_work
from basereward.models.hub import CONFIG


def is_written(folder: Path) -> bool:
    """Whether a folder holds a model that ``writing`` completed; what a kill left of one is none."""
    return (folder / CONFIG).is_file()


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder whose files take their places in ``folder`` when the block ends without an error.

    Files of an earlier model there are replaced; a kill meanwhile leaves a folder that ``is_written`` denies.

    Raises:
        WorkError: another process writes the folder, or the disk is full.
    """
    with open_work(folder) as work:
        work.discard()
        work.folder.mkdir()
        try:
            yield work.folder
            if not work.target.exists():
                work.publish()
                return
            (work.target / CONFIG).unlink(missing_ok=True)
            # False is sorted first: what says that all is there comes last.
            for path in sorted(work.folder.iterdir(), key=lambda path: path.name == CONFIG):
                path.replace(work.target / path.name)
        finally:
            work.discard()
