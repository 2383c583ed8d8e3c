"""What the operating system says of this process."""

import sys


def peak_resident_bytes() -> int:
    """Return the most resident memory that this process has held, in bytes; 0 where the system does not tell (Windows).

    Linux counts in KiB, macOS in bytes.
    """
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
