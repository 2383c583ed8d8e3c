"""Options of commands that read files of pairs: the format, columns under other names, two responses and a label."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from basereward.data.arrangement import ReadOptions

FORMAT_OPTION: Any = typer.Option(
    None, "--format", metavar="NAME", help="Format; told by the first records by default."
)
MAP_OPTION: Any = typer.Option(
    [], "--map", metavar="NAME=COLUMN,...", help="Columns under other names: prompt=question,chosen=better_response."
)
CHOICE_OPTION: Any = typer.Option(
    None,
    "--choice",
    metavar="COLUMN",
    help="Column that says which of --a and --b is better; COLUMN=A,B names values.",
)
A_OPTION: Any = typer.Option(None, "--a", metavar="COLUMN", help="Column of one response, with --choice.")
B_OPTION: Any = typer.Option(None, "--b", metavar="COLUMN", help="Column of the other response, with --choice.")


def read_options(format: str | None, map: list[str], choice: str | None, a: str | None, b: str | None) -> "ReadOptions":
    """Return what the options say of the records."""
    from basereward.data.arrangement import ReadOptions
    from basereward.data.formats.choice import LabelledColumns

    pairs = [item.partition("=") for given in map for item in given.split(",")]
    if wrong := [name for name, sign, column in pairs if not (name and sign and column)]:
        raise typer.BadParameter(f"--map is NAME=COLUMN,..., such as prompt=question; found {wrong[0]!r}.")
    columns = {name.strip(): column.strip() for name, _, column in pairs}
    if (choice, a, b) == (None, None, None):
        return ReadOptions(format=format, map=columns)
    if choice is None or a is None or b is None:
        raise typer.BadParameter("--choice, --a and --b go together: the label and the columns of the two responses.")
    label, sign, values = choice.partition("=")
    named = tuple(values.split(",")) if sign else None
    if named is not None and len(named) != 2:
        raise typer.BadParameter(f"--choice is COLUMN or COLUMN=A,B with two values; found {choice!r}.")
    return ReadOptions(format=format, map=columns, choice=LabelledColumns(label=label, a=a, b=b, values=named))


def reading_words(options: "ReadOptions") -> list[str]:
    """Return the words of a command line that say what options say."""
    words = ["--format", options.format] if options.format else []
    if options.map:
        words += ["--map", ",".join(f"{name}={column}" for name, column in options.map.items())]
    if (choice := options.choice) is not None:
        label = f"{choice.label}={','.join(choice.values)}" if choice.values else choice.label
        words += ["--choice", label, "--a", choice.a, "--b", choice.b]
    return words
