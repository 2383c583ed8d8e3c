"""The one folder in which this machine keeps what can be made again: rows read into Arrow, sizes, features, scores."""

import os
from pathlib import Path

CACHE_VARIABLE = "BASEREWARD_CACHE"


def user_cache() -> Path:
    """Return ``$BASEREWARD_CACHE``, by default ``basereward`` in the cache folder of the user."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "basereward"
