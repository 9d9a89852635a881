"""The memory that this process has in use, and the most that it had."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CLEAR_PEAK = "5"  # proc(5), of clear_refs: only the high-water mark is reset, no page is touched
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_forgotten = 0  # the most before the last reset


def resident() -> int:
    """The bytes of memory that this process has in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def address_space() -> int:
    """The bytes of address space that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE


def available() -> int:
    """The bytes of memory that there are for this process at most: the machine's, or its container's."""
    found = os.sysconf("SC_PHYS_PAGES") * _PAGE
    for limit in _CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # no such file, or `max`
            found = min(found, int(limit.read_text()))
    return found


def peak_resident() -> int:
    """The most bytes of memory that this process had in use at once since it began."""
    return max(_forgotten, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def forget_peak() -> int:
    """Let `recent_peak` begin anew, and give it.

    A process that was larger once would show no growth up to that size. Where the system does not reset it
    (no Linux, a sandbox), it is the peak since the process began.
    """
    global _forgotten  # noqa: PLW0603 - of the process, as the system's own mark is
    _forgotten = peak_resident()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)
    return recent_peak()


def recent_peak() -> int:
    """The most bytes of memory in use at once since `forget_peak`."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return peak_resident()
