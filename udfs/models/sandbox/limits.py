"""What a process that checks or serves one model may take."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

from udfs.models.memory import address_space

_SPARE_PROCESSES = 512


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Bounds of one process. `memory_bytes` is address space beyond what the process begins with;
    `loaded_bytes` the memory that it has in use at its peak beyond that, which is what the model takes again
    where it is loaded. `cpu_seconds` and `deadline_seconds` (by the clock) are of a check as a whole.
    `file_bytes` bounds each file that the process writes, `open_files` its descriptors. `start_seconds`: how
    long the fork server may take to import what models need. `stop_seconds`: how long closing waits for it.
    """

    memory_bytes: int = 4 << 30
    loaded_bytes: int = 1 << 30
    cpu_seconds: int = 30
    deadline_seconds: float = 30.0
    file_bytes: int = 2 << 30
    open_files: int = 512
    start_seconds: float = 120.0
    stop_seconds: float = 5.0


def limit_this_process(limits: SandboxLimits) -> None:
    """Set the limits for this process and those that it starts. Soft and hard limits are the same, except for
    processor time, which `lift_cpu_limit` takes back.

    The number of processes is bounded for users without privileges only: Linux counts all those of a user,
    and does not count for root. Raises `OSError` where the system refuses.
    """
    memory = address_space() + limits.memory_bytes
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(kind, value, value)
    _lower(resource.RLIMIT_CPU, _used_cpu_seconds() + limits.cpu_seconds, resource.RLIM_INFINITY)
    if os.geteuid() != 0:
        most = _own_processes() + _SPARE_PROCESSES
        _lower(resource.RLIMIT_NPROC, most, most)


def lift_cpu_limit() -> None:
    """For a process whose check is over and that goes on: its calls have deadlines of their own."""
    _lower(resource.RLIMIT_CPU, resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def _lower(kind: int, soft: int, hard: int) -> None:
    """Set a limit, or keep a hard one that is lower already."""
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft = most if soft == resource.RLIM_INFINITY else min(soft, most)
        hard = most if hard == resource.RLIM_INFINITY else min(hard, most)
    resource.setrlimit(kind, (soft, hard))


def _used_cpu_seconds() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int(used.ru_utime + used.ru_stime) + 1


def _own_processes() -> int:
    """Threads of this user, which is what the system counts."""
    own, count = os.geteuid(), 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == own:
                    count += len(os.listdir(f"/proc/{entry.name}/task"))
            except OSError:  # it ended meanwhile
                continue
    return count
