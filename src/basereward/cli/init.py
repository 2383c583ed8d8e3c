"""``basereward init``."""

from pathlib import Path

import typer

from basereward.cli.output import JSON_OPTION, print_json, print_next


def init(
    name: str | None = typer.Argument(
        None, metavar="[NAME]", help="Installed recipe to begin with; every key with its default if not given."
    ),
    out: Path | None = typer.Option(None, help="File; recipe.yaml, or NAME.yaml, by default."),
    model: str = typer.Option("Qwen/Qwen2.5-VL-3B-Instruct", help="Backbone that a recipe without NAME says."),
    data: str = typer.Option("pairs.jsonl", help="File of pairs, folder or hub id that a recipe without NAME says."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file."),
    show_list: bool = typer.Option(False, "--list", help="Print the names of the installed recipes; write nothing."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a commented recipe of your own.

    Example: `basereward init --model Qwen/Qwen2.5-VL-3B-Instruct --data pairs.jsonl --out recipe.yaml`

    Example: `basereward init qwen2_5-vl-7b-lora-24gb --out mine.yaml`
    """
    from basereward.configuration import find_recipe, shipped_recipes
    from basereward.data.io import replacing
    from basereward.errors import DataError

    if show_list:
        names = list(shipped_recipes())
        print_json({"recipes": names}) if as_json else print("\n".join(names))
        return
    file = out or Path(f"{Path(name).stem}.yaml" if name else "recipe.yaml")
    if file.exists() and not overwrite:
        raise DataError(f"{file} is there already; choose another --out, or replace it with --overwrite.")
    if name:
        text = find_recipe(name).read_text(encoding="utf-8")
    else:
        from basereward.training.recipe_text import write_recipe_text

        text = write_recipe_text(file.stem, model, data)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"recipe": str(file)})
        return
    print(f"recipe   {file}")
    print_next("train", file, "--plan")
