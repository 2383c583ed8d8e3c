"""Tokens of every pair before training: measured from texts and sizes, no image decoded, kept on disk.

An ordinary pair, one group with two responses, takes 24 bytes in memory and at most as many on disk.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt64
from torch.utils.data import DataLoader, Dataset

from basereward.data.annotations import weight_of
from basereward.data.cache import making, user_cache
from basereward.data.images import VideoSize
from basereward.data.pairs import LoadedPairs
from basereward.data.parts import Pace, Parts, Stored, load_arrays, save_arrays
from basereward.data.schema import Comparison, PreferencePair, Video
from basereward.encoding.groups import GroupLength
from basereward.encoding.packing import CostModel
from basereward.encoding.template import Template
from basereward.errors import RowError

BATCH = 256
# Part of the name of a cached file; grows whenever the same data and template give other lengths.
LENGTHS_VERSION = 5
_log = logging.getLogger(__name__)


class PairLength(NamedTuple):
    """Sizes of one pair, or why it cannot be used."""

    groups: tuple[GroupLength, ...]
    problem: tuple[str, str] | None = None
