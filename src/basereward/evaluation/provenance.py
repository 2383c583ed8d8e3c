"""What a result must say about itself: settings, seeds and versions."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from basereward import __version__
from basereward.data.outcomes import About
from basereward.evaluation.blind import BLIND_SEED
from basereward.statistics import FLIP_SEED

LIBRARIES = ("torch", "transformers")
SEEDS = {"sign_flips": FLIP_SEED, "image_blind": BLIND_SEED}


def versions_of(about: About) -> dict[str, str]:
    """Return the versions that a result names; torch and transformers only where they computed the scores."""
    identity: Mapping[str, Any] = about.identity or {}
    used = {name: str(identity[name]) for name in LIBRARIES if name in identity}
    return {"basereward": __version__, "python": platform.python_version(), **used}


def versions_here() -> dict[str, str]:
    """Return the versions of this process, for a result that it trains and scores itself."""
    return {"basereward": __version__, "python": platform.python_version()} | {
        name: version(name) for name in LIBRARIES
    }
