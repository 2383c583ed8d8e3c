"""How long a planned run takes: its model FLOPs by an assumed share of the devices' peak."""

from typing import NamedTuple

from basereward.training.recipe import AssumedHardware

_SECONDS = 3600.0


class ExpectedHours(NamedTuple):
    """Hours of a run at an assumed utilisation: of the clock, and summed over devices.

    Args:
        mfu: the assumed share of the peak that goes into model FLOPs.
        peak_flops: of one device, in FLOPs a second, assumed as well.
        hours: of wall time of the training steps, without start, evaluations and checkpoints.
        device_hours: ``hours`` times the ranks; the same for any number of them.
    """

    mfu: float
    peak_flops: float
    hours: float
    device_hours: float

    def line(self) -> tuple[str, str]:
        """Return name and value for people."""
        return (
            "expected hours",
            f"{self.hours:,.1f} ({self.device_hours:,.0f} device hours) if {self.mfu:.0%} of "
            f"{self.peak_flops / 1e12:,.0f} TFLOP/s a rank are model FLOPs: assumed, not measured",
        )


def expect_hours(train_flops: float, ranks: int, device: AssumedHardware | None) -> ExpectedHours | None:
    """Return ``FLOPs / (ranks * mfu * peak)`` in hours; None without a device to assume."""
    if device is None:
        return None
    peak = device.peak_tflops * 1e12
    alone = train_flops / (device.mfu * peak) / _SECONDS
    return ExpectedHours(device.mfu, peak, alone / ranks, alone)
