"""YAML files as frozen, checked configuration: unknown keys are errors that name close ones."""

from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from basereward.errors import MissingFileError, RecipeError
from basereward.registry import close_names


class Section(BaseModel):
    """The content of a file or a part of it: frozen, typed, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    tag: ClassVar[str | None] = None
    """What tells it apart in a union whose members are told apart by their keys; no key is called so."""


S = TypeVar("S", bound=Section)
# In a run folder.
RECIPE = "recipe.yaml"
# Of an installed package; a clone without symbolic links has them at its root only.
SHIPPED = next(
    (place for place in (Path(__file__).with_name("recipes"), Path(__file__).parents[2] / "recipes") if place.is_dir()),
    Path(__file__).with_name("recipes"),
)


def shipped_recipes(folder: str = "") -> dict[str, Path]:
    """Return the recipes that are installed with the package, by name; those of the paper are ``paper/NAME``.

    Args:
        folder: ``rl``, ``data``, ``curation`` or ``sweeps``; those of ``basereward train`` if not given.
    """
    files = [file for place in ((folder,) if folder else ("", "paper")) for file in (SHIPPED / place).glob("*.yaml")]
    names = {file.relative_to(SHIPPED / folder).as_posix().removesuffix(".yaml"): file for file in sorted(files)}
    # A MODEL of several, which nothing trains.
    names.pop("paper/ensemble", None)
    return names


def find_recipe(name: str | Path, folder: str = "") -> Path:
    """Return the file of a recipe: a file, the ``recipe.yaml`` of a run folder, or an installed recipe by its name.

    A file on this machine goes before an installed recipe; ``tiny``, ``tiny.yaml`` and ``recipes/tiny.yaml`` name
    the same one.

    Args:
        folder: the kind of recipe, as ``shipped_recipes`` takes it.

    Raises:
        MissingFileError: none of these; the message names close ones.
    """
    given = Path(name)
    if (given / RECIPE).is_file():
        return given / RECIPE
    if given.is_file():
        return given
    known = shipped_recipes(folder)
    asked = given.as_posix().removesuffix(".yaml").removeprefix("recipes/").removeprefix(f"{folder}/" if folder else "")
    if asked in known and not given.is_dir():
        return known[asked]
    raise MissingFileError(
        f"No recipe {str(name)!r}; expected a YAML file, a run folder, or an installed recipe by name."
        f"{close_names(asked, list(known))} Installed: {', '.join(known)}."
    )


def preparations(file: Path) -> list[str]:
    """Return the commands in the comment at the head of a recipe whose ``--out`` is not there yet."""
    commands = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words = line.lstrip("# ").split()
        if words[:1] == ["basereward"] and "--out" in words[:-1] and not Path(words[words.index("--out") + 1]).exists():
            commands.append(" ".join(words))
    return commands


def run_folder(out: str | Path | None, recipe: str | Path | None, name: str, resume: bool) -> Path:
    """Return where a run lies: ``out``, else the run folder that is to go on, else ``runs/NAME``.

    Args:
        recipe: what was named as the recipe.
        name: of the run.
        resume: whether a run is to go on.
    """
    if out is None and resume and recipe is not None and (Path(recipe) / RECIPE).is_file():
        return Path(recipe)
    return Path(out or Path("runs") / name)


def load_configuration(kind: type[S], file: str | Path, overrides: list[str] | None = None, folder: str = "") -> S:
    """Read a YAML file, or an installed recipe by name, and apply ``key.sub=value`` overrides.

    Args:
        folder: the kind of recipe, as ``find_recipe`` takes it.

    Raises:
        MissingFileError: no such file or recipe.
        RecipeError: unknown key (the message names close ones) or a value of the wrong kind.
    """
    content = read_content(find_recipe(file, folder))
    for override in overrides or []:
        _apply_override(content, override)
    return parse_configuration(kind, content)


def read_content(file: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds, unchecked.

    Raises:
        RecipeError: no YAML in UTF-8, a key twice, or something else than a mapping.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file} is no text in UTF-8: {error}.") from error
    content = _read_yaml(text, str(file))
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise RecipeError(f"{file} holds {found}, expected a mapping of sections: a recipe or a spec in YAML.")
    return content


def parse_overrides(kind: type[S], overrides: list[str]) -> S:
    """Return the configuration that ``key=value`` pairs give alone.

    Raises:
        RecipeError: no ``=``, an unknown key or a value of the wrong kind.
    """
    content: dict[str, Any] = {}
    for override in overrides:
        _apply_override(content, override)
    return parse_configuration(kind, content)


def parse_configuration(kind: type[S], content: dict[str, Any]) -> S:
    """Check the content of a recipe.

    Raises:
        RecipeError: unknown key or a value of the wrong kind.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise RecipeError("\n".join(_explain(kind, dict(item)) for item in error.errors())) from None


def dump_configuration(configuration: Section) -> str:
    """Return the resolved configuration as YAML; it can be read again."""
    return yaml.safe_dump(configuration.model_dump(), sort_keys=False)


def _apply_override(content: dict[str, Any], override: str) -> None:
    path, separator, value = override.partition("=")
    if not separator:
        raise RecipeError(f"Found override {override!r}, expected key.sub=value.")
    set_key(content, path, _read_yaml(value, f"override {override!r}"))


def set_key(content: dict[str, Any], path: str, value: Any) -> None:
    """Put a value under a dotted key of content that is not checked yet; sections on the way are made.

    Raises:
        RecipeError: a part of the key on the way is a value.
    """
    *parents, last = path.split(".")
    for parent in parents:
        if content.get(parent) is None:
            content[parent] = {}
        content = content[parent]
        if not isinstance(content, dict):
            raise RecipeError(f"Override {path!r}: {parent!r} is a value, not a section.")
    content[last] = value


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML would silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read_yaml(text: str, place: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{place} is no valid YAML: {_yaml_problem(error)}.") from error


def _yaml_problem(error: yaml.YAMLError) -> str:
    """Return in one line what is wrong, and where; a library says it over several, with an excerpt."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"


def _explain(kind: type[Section], item: dict[str, Any]) -> str:
    place = [str(part) for part in item["loc"] if part not in _tags(kind, set())]
    if item["type"] == "extra_forbidden":
        known = _keys_of(kind, [part for part in item["loc"][:-1] if isinstance(part, str)])
        return f"Unknown key {'.'.join(place)!r}.{close_names(place[-1], known)} Known here: {', '.join(known)}."
    message = item["msg"].removeprefix("Value error, ")
    return f"{'.'.join(place) or kind.__name__}: {message} (found {item['input']!r})."


def _keys_of(kind: type[Section], path: list[str]) -> list[str]:
    sections = [kind]
    for key in path:
        inner = [section.model_fields[key].annotation for section in sections if key in section.model_fields]
        if inner:
            sections = [found for annotation in inner for found in _sections_of(annotation)]
        else:
            # In a union of sections the path also holds the value that tells them apart.
            sections = [section for section in sections if _is_tagged(section, key)]
    return list(dict.fromkeys(name for section in sections for name in section.model_fields))


def _sections_of(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _sections_of(inner)]


def _is_tagged(section: type[Section], value: str) -> bool:
    return value == section.tag or any(value in get_args(field.annotation) for field in section.model_fields.values())


def _tags(kind: type[Section], seen: set[type[Section]]) -> set[str]:
    """Return the tags of all sections in a section, which stand in the places of errors but in no file."""
    if kind in seen:
        return set()
    seen.add(kind)
    inner = [found for field in kind.model_fields.values() for found in _sections_of(field.annotation)]
    return {kind.tag} - {None} | {tag for section in inner for tag in _tags(section, seen)}  # type: ignore[return-value]
