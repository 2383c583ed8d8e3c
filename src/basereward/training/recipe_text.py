"""Recipes as text from their types: every key with its kind, its default and what it says."""

import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from basereward.configuration import Section
from basereward.training.recipe import Recipe


class RecipeKey(NamedTuple):
    """A key of a recipe.

    Args:
        path: dotted; a member of a union stands under its ``kind``, as ``objective[critic]``.
        kind: the values that it takes, in words of Python.
        default: as YAML; ``required`` if there is none.
        text: what it says.
        is_section: whether keys stand below it.
    """

    path: str
    kind: str
    default: str
    text: str
    is_section: bool


def recipe_keys(kind: type[Section], prefix: str = "") -> Iterator[RecipeKey]:
    """Yield the keys of a kind of recipe, each section in front of its keys."""
    for name, field in kind.model_fields.items():
        path = f"{prefix}{name}"
        sections = _sections(field.annotation)
        # A description of several lines would break out of the comment that it stands in.
        text = " ".join((field.description or "").split())
        yield RecipeKey(path, _kind(field.annotation), _default(field), text, bool(sections))
        for section in sections:
            # A union is told apart by the value of one of its keys.
            tag = get_args(section.model_fields["kind"].annotation)[0] if "kind" in section.model_fields else None
            yield from recipe_keys(section, f"{path}[{tag or section.__name__}]." if len(sections) > 1 else f"{path}.")


def write_recipe_text(name: str, model: str, data: str) -> str:
    """Return a recipe of one's own as YAML: what must be said is said, every other key is a comment with its default.

    Args:
        name: of the run.
        model: folder or hub id of a backbone.
        data: file of pairs, folder or hub id.
    """
    said = {"name": name, "model.backbone": model, "data.train": [data]}
    lines = [
        f"# A recipe: basereward train {name}.yaml",
        "# Every key that is commented out has the value that is shown; docs/training.md says more.",
    ]
    for key in recipe_keys(Recipe):
        if "[" in key.path and not key.path.startswith("objective[bradley_terry]"):
            continue
        path = key.path.replace("[bradley_terry]", "")
        depth, own = path.count("."), path.rpartition(".")[2]
        if depth == 0:
            lines += ["", f"# {key.text}"]
        is_open = key.is_section and depth == 0 and path in ("model", "data")
        value = f" {_yaml(said[path])}" if path in said else "" if key.is_section else f" {key.default}"
        # Sections that stand below a comment are comments with their keys.
        mark = "" if is_open or path in said else "# "
        note = f"  # {key.text}" if depth else ""
        lines.append(
            f"{mark}{'  ' * depth}{own}:{value}{note}".rstrip() if mark else f"{'  ' * depth}{own}:{value}{note}"
        )
    return "\n".join(lines) + "\n"


def _sections(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if get_origin(annotation) in (list, dict):
        return []
    return [found for inner in get_args(annotation) if get_origin(annotation) for found in _sections(inner)]


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if origin is Annotated:
        return _kind(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(own) for own in inner))
    if origin is Literal:
        return ", ".join(map(str, inner))
    if origin in (list, tuple):
        return f"list of {_kind(inner[0])}" if inner else "list"
    if origin is dict:
        return f"mapping of {_kind(inner[0])} to {_kind(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "section"
    return {"str": "text", "int": "integer", "float": "number", "bool": "true, false", "Any": "any"}.get(
        getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation))
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if isinstance(value, Section) else _yaml(value)


def _yaml(value: Any) -> str:
    if isinstance(value, (list, dict, str)):
        return json.dumps(value) if not isinstance(value, str) else yaml.safe_dump(value).splitlines()[0]
    return yaml.safe_dump(value).splitlines()[0]
