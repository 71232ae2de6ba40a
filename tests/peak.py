"""The most memory that a process has held."""

import resource
from pathlib import Path


def peak_kib(process: int | str = "self") -> int:
    """Return the peak of a process by its number, in KiB; 0 when it is gone.

    Linux counts what the parent held in `ru_maxrss` of a child, so it serves only where there is no better.
    """
    status = Path(f"/proc/{process}/status")
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if process == "self" else 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
