"""What to say of a file that no format fits: the nearest format, and the option that would read the file."""

import re
from collections.abc import Iterable, Sequence
from itertools import combinations

from basereward.data.formats.format import RecordFormat
from basereward.data.formats.registry import DETECTED, FORMATS
from basereward.registry import close_names

# Names under which files keep what a pair needs.
_SYNONYMS = {
    "prompt": ("question", "query", "instruction", "input", "context", "user_prompt", "problem", "prompt_text"),
    "chosen": ("better", "better_response", "chosen_response", "preferred", "accepted", "positive", "win", "winner"),
    "rejected": ("worse", "worse_response", "rejected_response", "dispreferred", "negative", "lose", "loser"),
}
_LABELS = re.compile(r"better|prefer|winner|label|choice|chosen|vote|judg|verdict", re.IGNORECASE)
# Not every command that reads pairs takes options of reading.
_ELSE = "; commands without that option read what basereward data convert writes with it"
_TWINS = (("0", "1"), ("1", "2"), ("a", "b"), ("left", "right"), ("first", "second"))


def explain(fields: Sequence[str], place: str, wanted: RecordFormat | None = None) -> str:
    """Return why no record of a file can be read, and what would read it.

    Args:
        fields: names of the fields of its first records.
        wanted: the format that was asked for.
    """
    formats = [wanted] if wanted else [FORMATS.get(name) for name in DETECTED]
    # Of formats with as large a part of their fields here, the first, which is the most common one.
    nearest = max(formats, key=lambda one: sum(name in fields for name in one.columns) / len(one.columns))
    missing = [name for name in nearest.columns if name not in fields]
    lacks = f"it has no {', '.join(missing)}" if missing else "their types differ"
    found = f"found the fields {', '.join(fields)}, expected {', '.join(nearest.columns)}"
    if wanted:
        return f"{place} cannot be read as {wanted.name} ({wanted.title}): {found}."
    return (
        f"{place} has records that no format fits; {found}. Nearest is {nearest.name} ({nearest.title}), but {lacks}. "
        f"{_advise(fields, missing)}Formats: {', '.join(FORMATS.names())}."
    )


def _advise(fields: Sequence[str], missing: Sequence[str]) -> str:
    for name in fields:
        if hint := close_names(name, list(missing), 0.8):
            return f"Unknown column {name!r}.{hint} "
    if {"chosen", "rejected"} <= set(fields) and "prompt" not in fields and not _synonyms(fields):
        return (
            "Nothing tells where the question ends: add a field 'prompt', or begin the texts with 'Human:' and "
            "'Assistant:'. "
        )
    if sides := _twins(fields):
        rest = [name for name in fields if name not in sides]
        label = next((name for name in rest if _LABELS.search(name)), None)
        if label:
            options = [f"--choice {label} --a {sides[0]} --b {sides[1]}"]
            if prompt := _synonyms(rest).get("prompt"):
                options.append(f"--map prompt={prompt}")
            return f"Try {' '.join(options)}{_ELSE}. "
    if found := _synonyms(fields):
        return f"Try --map {','.join(f'{key}={name}' for key, name in found.items())}{_ELSE}. "
    return f"Rename columns with --map{_ELSE}. "


def _synonyms(fields: Iterable[str]) -> dict[str, str]:
    """Return, for each field of a pair that is not there, a field that may hold it."""
    given = {name.lower(): name for name in fields}
    return {
        key: next(given[name] for name in names if name in given)
        for key, names in _SYNONYMS.items()
        if key not in given and any(name in given for name in names)
    }


def _twins(fields: Sequence[str]) -> tuple[str, str] | None:
    """Return two fields whose names differ in a number or side alone, such as ``response_a`` and ``response_b``."""
    for first, second in combinations(fields, 2):
        for one, other in _TWINS:
            for left, right in ((first, second), (second, first)):
                low, high = left.lower(), right.lower()
                if low.endswith(one) and high.endswith(other) and low[: -len(one)] == high[: -len(other)]:
                    return left, right
    return None
