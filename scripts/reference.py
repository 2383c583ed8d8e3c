"""Write what the types and commands say into docs: recipe reference, commands, API, memory by GPU.

python scripts/reference.py [--write]
"""

import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import basereward
from basereward.cli.main import app
from basereward.configuration import Section, shipped_recipes
from basereward.curation.mix_recipe import MixRecipe
from basereward.curation.recipe import CurationRecipe
from basereward.models.shapes import backbone_config
from basereward.rl.recipe import JudgeRlRecipe, RlRecipe
from basereward.sweep.recipe import SweepRecipe
from basereward.training.plan import PlannedPairs, make_plan
from basereward.training.recipe import Recipe, parse_recipe
from basereward.training.recipe_text import recipe_keys

DOCS = Path(__file__).parents[1] / "docs"
KINDS: tuple[tuple[str, str, str, type[Section]], ...] = (
    ("Training", "basereward train", "", Recipe),
    ("Reinforcement learning", "basereward rl train", "rl", RlRecipe),
    ("Reinforcement learning of a judge", "basereward rl train` with `task: judge", "", JudgeRlRecipe),
    ("Mixture", "basereward data mix", "data", MixRecipe),
    ("Curation", "basereward data curate", "curation", CurationRecipe),
    ("Sweep", "basereward sweep", "sweeps", SweepRecipe),
)
BACKBONES = ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct")
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("head alone", {"freeze_backbone": True, "frozen_dtype": "bfloat16"}),
    ("LoRA", {"lora": {"rank": 32, "alpha": 64}, "freeze_vision": True, "frozen_dtype": "bfloat16"}),
    ("all weights", {}),
)
CARDS = (24, 48, 80, 141)
_WIDTH = 88


# What is the same for all commands; a table has long lines, which Python has not.
COMMON = (Path(__file__).parent / "commands_head.md").read_text(encoding="utf-8")


def recipe_page() -> str:
    """Return the reference of every kind of recipe."""
    lines = ["# Recipe reference", "", "Every key of every recipe, from the types. `required` keys have no default."]
    for title, command, folder, kind in KINDS:
        lines += ["", f"## {title}", "", f"For `{command}`."]
        if folder or kind is Recipe:
            names = ", ".join(f"`{name}`" for name in shipped_recipes(folder))
            lines += ["", f"Installed by name: {names}."]
        lines += ["", "| key | values | default | |", "|---|---|---|---|"]
        for key in recipe_keys(kind):
            default = f"`{_cell(key.default)}`" if key.default else ""
            lines.append(f"| `{key.path}` | {_cell(key.kind)} | {default} | {_cell(key.text)} |")
    return "\n".join(lines) + "\n"


def command_page() -> str:
    """Return the reference of all commands."""
    lines = [COMMON.strip()]
    for path, command in sorted(_commands(typer.main.get_command(app))):
        help_text = inspect.cleandoc(command.help or "")
        lines += ["", f"## basereward {' '.join(path)}", "", help_text, "", "| option | default | |", "|---|---|---|"]
        for own in command.params:
            if getattr(own, "hidden", False):
                continue
            is_argument = own.param_type_name == "argument"
            name = own.metavar or (own.name or "").upper() if is_argument else ", ".join(own.opts)
            lines.append(f"| `{_cell(str(name))}` | {_shown(own)} | {_cell(getattr(own, 'help', '') or '')} |")
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """Return the public names of the package with their signatures and docstrings."""
    lines = ["# Python", "", "`import basereward` imports nothing heavy; each name is loaded when it is asked for."]
    for name in basereward.__all__:
        if name == "__version__":
            continue
        thing = getattr(basereward, name)
        lines += ["", f"## basereward.{name}", *_described(name, thing)]
        if inspect.isclass(thing):
            for inner, value in vars(thing).items():
                if inner.startswith("_") or not inspect.getdoc(value):
                    continue
                function = value.__func__ if isinstance(value, classmethod) else value
                if inspect.isfunction(function):
                    lines += ["", f"### {name}.{inner}", *_described(inner, function)]
    return "\n".join(lines) + "\n"


def memory_table() -> str:
    """Return what training takes on one GPU and on eight, computed by the plan of ``basereward train --plan``."""
    lines = ["| backbone | trained | ranks | GiB a rank | fits |", "|---|---|---|---|---|"]
    for backbone in BACKBONES:
        for name, settings in WAYS:
            for ranks in (1, 8):
                total = _plan(backbone, settings, ranks)
                fitting = [card for card in CARDS if total < card * 1e9 / 2**30 * 0.95]
                fits = f"{fitting[0]} GB and more" if fitting else "none of them"
                lines.append(f"| {backbone.partition('/')[2]} | {name} | {ranks} | {total:.1f} | {fits} |")
    return "\n".join(lines)


def _plan(backbone: str, settings: dict[str, Any], ranks: int) -> float:
    recipe = parse_recipe(
        {
            "name": "plan",
            "model": {"backbone": backbone, "checkpointing": True, "max_length": 2048, **settings},
            "data": {"train": ["-"], "assumed": {"pairs": 50_000, "prompt_tokens": 700, "image_tokens": 512}},
            "optimizer": {"pairs_per_step": 64, "tokens_per_microbatch": 4096},
            "hardware": {"precision": "bf16", "sharding": "fsdp2" if ranks > 1 else "none"},
        }
    )
    return make_plan(recipe, backbone_config(backbone), PlannedPairs(None, 0), ranks).memory.total


def _described(name: str, thing: Any) -> list[str]:
    # A protocol is not called.
    code = [] if getattr(thing, "_is_protocol", False) else ["", "```python", _signature(name, thing), "```"]
    return [*code, "", *_prose(inspect.getdoc(thing) or "")]


def _signature(name: str, thing: Any) -> str:
    """Return how it is called, one argument a line where it is long, types without their modules."""
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return name
    own = [value for value in signature.parameters.values() if value.name not in ("self", "cls")]
    whole = signature.replace(parameters=own)
    # A default that is a function is shown with its address, which is another one each time.
    parts = [re.sub(r"<function (?:[\w.]+\.)?<?(\w+)>? at 0x[0-9a-f]+>", r"\1", text) for text in _arguments(whole)]
    end = "" if whole.return_annotation is whole.empty else f" -> {inspect.formatannotation(whole.return_annotation)}"
    line = f"{name}({', '.join(parts)}){end}"
    if len(line) > _WIDTH:
        line = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"
    return re.sub(r"\b(?!torch\.(?:dtype|device)\b)(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", line).replace(
        "'RewardModel'", "RewardModel"
    )


def _arguments(signature: inspect.Signature) -> list[str]:
    parts, is_named = list[str](), False
    for own in signature.parameters.values():
        if own.kind is own.VAR_POSITIONAL:
            is_named = True
        elif own.kind is own.KEYWORD_ONLY and not is_named:
            parts.append("*")
            is_named = True
        parts.append(str(own))
    return parts


def _prose(text: str) -> list[str]:
    """Return a docstring as Markdown: its sections as lists, names as code."""
    lines = list[str]()
    for line in text.replace("``", "`").splitlines():
        if line in ("Args:", "Raises:", "Returns:"):
            lines += [f"**{line[:-1]}**", ""]
        elif found := re.match(r" {4}([\w*]+): (.*)", line):
            lines.append(f"- `{found[1]}`: {found[2]}")
        elif line.startswith("    "):
            lines.append(f"  {line.strip()}" if lines and lines[-1] else line.strip())
        else:
            lines.append(line)
    return lines


def _shown(own: Any) -> str:
    if own.required:
        return "required"
    default = getattr(own.default, "value", own.default)
    return "" if default in (None, [], (), False, "") or callable(default) else f"`{_cell(str(default))}`"


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def pages() -> dict[str, str]:
    """Return the generated pages by file name; that on GPUs is written by hand around its table."""
    gpus = (DOCS / "gpus.md").read_text(encoding="utf-8")
    before, _, rest = gpus.partition("<!-- memory -->")
    after = rest.partition("<!-- /memory -->")[2]
    return {
        "recipe-reference.md": recipe_page(),
        "commands.md": command_page(),
        "api.md": api_page(),
        "gpus.md": f"{before}<!-- memory -->\n{memory_table()}\n<!-- /memory -->{after}",
    }


def main() -> None:
    """Print the pages, or write them."""
    # Shapes of published backbones are known without a network.
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name, text in pages().items():
        if "--write" in sys.argv[1:]:
            (DOCS / name).write_text(text, encoding="utf-8")
        else:
            print(text)


if __name__ == "__main__":
    main()
