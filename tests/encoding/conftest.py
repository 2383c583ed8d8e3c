"""Chat templates of real models."""

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def jinja_folder():
    """The folder of the templates that trl ships."""
    spec = find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("trl, which ships the templates of real models, is not installed")
    return Path(spec.submodule_search_locations[0]) / "chat_templates"


@pytest.fixture(scope="session")
def read_jinja(jinja_folder):
    """``read_jinja(name)``: one of them."""

    def read(name):
        path = jinja_folder / f"{name}.jinja"
        if not path.exists():
            pytest.skip(f"this trl has no {name}.jinja")
        return path.read_text(encoding="utf-8")

    return read
