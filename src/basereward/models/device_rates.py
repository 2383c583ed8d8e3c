"""Rates of known accelerators, from their makers' data sheets."""

import torch

# Dense bf16 operations a second.
DATA_SHEET = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


def data_sheet_rate(device: torch.device | str, dtype: torch.dtype) -> float | None:
    """Return the dense bf16 rate of a GPU in ``DATA_SHEET``, or None for other devices and precisions."""
    device = torch.device(device)
    if device.type != "cuda" or dtype != torch.bfloat16:
        return None
    name = torch.cuda.get_device_name(device)
    return next((rate for part, rate in DATA_SHEET.items() if part in name), None)
