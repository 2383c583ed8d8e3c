"""MMIF-23k: preferences for following instructions and their constraints about an image.

Hub: ``ChrisDing1105/MMIF-23k`` (licence not verified; no revision is pinned). The repository holds supervised and
preference data in JSON lists; the second version of September 2025 lies beside the first, which the paper used
(22k pairs, left out: little benefit). The names of the files are not verified: the preference file is the only JSON
file with "dpo" in its name and no "v2", and anything else is an error. A record has ``images`` (relative paths),
``conversations`` and ``chosen`` / ``rejected`` as ``{from, value}``. Some rejected answers were written without the
image or without one of the constraints, so the prompt is kept whole.

Source: MM-IFEngine (arXiv 2504.07957) and public loaders of its files.
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.conversations import sharegpt_turn
from basereward.data.formats.records import PLACE, find_media, located_records, pair_record
from basereward.data.source import Source
from basereward.errors import DataError, MissingFileError

COLUMNS = ("images", "conversations", "chosen", "rejected")


def records(files: DataFiles) -> Iterable[Raw]:
    """Yield the records of the preference file of the first version.

    Raises:
        MissingFileError: there is no JSON file with "dpo" in its name.
        DataError: there are several.
    """
    found = [path for path in sorted(files.folder.rglob("*.json*")) if "dpo" in path.name.lower()]
    first = [path for path in found if "v2" not in str(path.relative_to(files.folder)).lower()]
    if not first:
        raise MissingFileError(
            f"There is no JSON file with 'dpo' in its name and no 'v2' in {files.folder}; found "
            f"{', '.join(path.name for path in found) or 'none'}. Bring it: {files.repository.command(files.folder)}"
        )
    if len(first) > 1:
        names = ", ".join(str(path.relative_to(files.folder)) for path in first)
        raise DataError(f"Expected one preference file of the first version in {files.folder}, found {names}.")
    return located_records(first)


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record."""
    expect_columns(record, COLUMNS, record[PLACE])
    names = record["images"] or []
    yield pair_record(
        SOURCE.name,
        record[PLACE],
        [sharegpt_turn(turn) for turn in record["conversations"]],
        sharegpt_turn(record["chosen"]).text,
        sharegpt_turn(record["rejected"]).text,
        images=[find_media(name, files) for name in names],
        extra={"image_path": list(names)},
    )


SOURCE = Source(
    name="mmif",
    title="MMIF-23k: following instructions about images",
    repository=HubRepository("ChrisDing1105/MMIF-23k", "not verified"),
    modality="image",
    verdict="dropped",
    remark="Little benefit in the paper; a second version of other data lies in the same repository.",
    records=records,
    parse=parse,
    paper_name="MMIF",
    paper_size=22_000,
)
