"""One word for one thing: what an option means in one command it means in all, and where a command writes is --out."""

from collections import defaultdict
from inspect import signature
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest

from tests.cli.test_help import COMMANDS

# What these write has its place already, or they write nothing.
WRITES_NOTHING = {("card",), ("data", "list"), ("orders",), ("serve",)}
# Whether the word is a switch, whether it may be repeated, and the words that its help has everywhere.
SHARED = {
    "--out": (False, False, ""),
    "--data-root": (False, False, "Folder that holds what is given by name, each in a folder of its name"),
    "--json": (True, False, "Print one JSON object on stdout; progress goes to stderr."),
    "--resume": (True, False, "Go on from "),
    "--overwrite": (True, False, ""),
    "--plan": (True, False, "Print "),
    "--strict": (True, False, "Fail on the first bad "),
    "--limit": (False, False, " the first "),
    "--seed": (False, False, ""),
    "--workers": (False, False, ""),
    "--device": (False, False, "cpu, cuda, cuda:1, ...; CUDA by default if there is one."),
    "--dtype": (False, False, "float32 or bfloat16; as stored by default."),
    "--backend": (False, False, "auto, plain, split, varlen or expand; rewards are the same."),
    "--map": (False, True, "Columns under other names: prompt=question,chosen=better_response."),
    "--judge-prompt": (False, False, "How "),
}
# Second words for the same, which nothing may be called.
REFUSED = {
    *("--output", "--output-dir", "--target", "--folder", "--root", "--force-overwrite", "--dry-run", "--jobs"),
    *("--num-workers", "--processes", "--continue", "--n", "--max-rows", "--verbose", "--cuda", "--gpu", "--precision"),
}


def is_timed(path: tuple[str, ...]) -> bool:
    """Whether a command is of ``speed``, where words are sizes of what is timed."""
    return path[0] == "speed"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_where_a_command_writes_is_out(path: tuple[str, ...]) -> None:
    places = [own for own in COMMANDS[path].params if own.name in ("out", "output", "target")]
    if is_timed(path) or path in WRITES_NOTHING:
        assert places == []
        return
    [out] = places
    assert out.opts == ["--out"]
    assert not out.required
    assert out.default is not None or "by default" in out.help


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_shared_words_mean_the_same(path: tuple[str, ...]) -> None:
    words = {name: own for own in COMMANDS[path].params for name in own.opts}
    assert not REFUSED & words.keys()
    # A server ends when it is stopped, and reports nothing.
    assert "--json" in words or path == ("serve",)
    for name, (is_switch, repeats, said) in SHARED.items():
        if name in words and not is_timed(path):
            found: Any = words[name]
            assert (found.is_flag, found.multiple) == (is_switch, repeats), name
            assert found.opts == [name]
            assert said in found.help, name


def kind_of(annotation: Any) -> str:
    """The type of one value, whether the option may be left out or repeated."""
    if get_origin(annotation) in (list, Union, UnionType):
        [inner] = [own for own in get_args(annotation) if own is not type(None)]
        return kind_of(inner)
    return str(annotation)


def test_a_word_takes_one_kind_of_value() -> None:
    kinds = defaultdict(set)
    for path, command in COMMANDS.items():
        annotated = signature(command.callback).parameters
        for own in command.params:
            if own.param_type_name != "argument" and not is_timed(path):
                kinds[own.opts[0]].add(kind_of(annotated[own.name].annotation))
    # Records are read in a format, pages are written in one.
    assert {name for name, found in kinds.items() if len(found) > 1} == {"--format"}
