"""What Linux says of a tree of processes: processor time, by thread too, and memory."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def _stat(path: Path) -> tuple[str, list[str]]:
    """The name, and the fields from the third on (proc(5))."""
    text = path.read_text()
    opening, closing = text.index("("), text.rindex(")")
    return text[opening + 1 : closing], text[closing + 2 :].split()


def tree(roots: Iterable[int]) -> list[int]:
    """The roots that live, and all their descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(entry / "stat")[1][1]), []).append(int(entry.name))
    found, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """Processor time of the trees, with that of children that have ended and were reaped."""
    ticks = 0
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            ticks += sum(map(int, _stat(_PROC / str(pid) / "stat")[1][11:15]))
    return ticks / _TICKS


def thread_seconds(roots: Iterable[int]) -> Counter[tuple[int, int, str]]:
    """Processor time by (process, thread, name of the thread cut to 15 characters)."""
    found: Counter[tuple[int, int, str]] = Counter()
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            for thread in (_PROC / str(pid) / "task").iterdir():
                with contextlib.suppress(OSError):
                    name, fields = _stat(thread / "stat")
                    found[pid, int(thread.name), name] = (int(fields[11]) + int(fields[12])) / _TICKS  # type: ignore[assignment]
    return found


def anonymous_bytes(pid: int) -> int:
    """Resident memory of one process without mapped files, whose pages come and go as the machine likes."""
    status = (_PROC / str(pid) / "status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        raise OSError(f"process {pid} has no memory any more")
    return int(found[1]) * 1024


def java_with(roots: Iterable[int], words: str) -> int:
    """The Java process of the trees whose command line has `words` in it."""
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            arguments = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
            if arguments[0].endswith(b"java") and any(words.encode() in a for a in arguments):
                return pid
    raise LookupError(f"no Java process with {words} in its command line")


def collect_garbage(pid: int) -> None:
    """Ask a JVM for a full collection and wait for it."""
    subprocess.run(_jcmd(pid, "GC.run"), capture_output=True, check=True, timeout=60)


def java_thread_names(pid: int) -> dict[int, str]:
    """Thread id -> the whole name, which Linux cuts; empty for a process that is no JVM."""
    with contextlib.suppress(subprocess.SubprocessError, OSError):
        done = subprocess.run(
            _jcmd(pid, "Thread.print"), capture_output=True, text=True, timeout=60, check=True
        )
        found = re.findall(r'^"(.*?)" .*?nid=(0x[0-9a-f]+|\d+)', done.stdout, re.MULTILINE)
        return {int(thread, 0): name for name, thread in found}
    return {}


def _jcmd(pid: int, command: str) -> list[str]:
    return [str(Path(os.environ["JAVA_HOME"]) / "bin" / "jcmd"), str(pid), command]
