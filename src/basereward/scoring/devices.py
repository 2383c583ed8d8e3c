"""Names of dtypes and devices, checked on this machine."""

import torch

from basereward.errors import ScoringError

DTYPES = ("float32", "bfloat16")


def parse_dtype(name: str | None) -> torch.dtype | None:
    """Return the dtype of a name, or None for None.

    Raises:
        ScoringError: neither ``float32`` nor ``bfloat16``.
    """
    if name is not None and name not in DTYPES:
        raise ScoringError(f"Found dtype {name!r}, expected {' or '.join(DTYPES)}.")
    return getattr(torch, name) if name else None


def parse_device(name: str | None) -> torch.device | None:
    """Return the device of a name, or None for None.

    Raises:
        ScoringError: no such device on this machine.
    """
    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ScoringError(f"Device {name!r} cannot be used here ({reason}); try --device cpu.") from error
    return device
