"""Peak memory of a piece of work above what was there before."""

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def peak_bytes(work: Callable[[], Any], device: str) -> int | None:
    """Run ``work`` and return its peak in bytes above the start, or None where it cannot be measured.

    On CUDA the allocator's peak; on Linux the peak of resident memory, after freed memory was given back.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    if not sys.platform.startswith("linux") or not _CLEAR.exists():
        work()
        return None
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    _CLEAR.write_text("5", encoding="utf-8")
    before = _read("VmRSS")
    work()
    return max(_read("VmHWM") - before, 0)


def _read(field: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
