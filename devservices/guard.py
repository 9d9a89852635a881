"""Run a command that must not outlive its runner: `python guard.py COMMAND...`.

The runner holds the other end of our standard input. When it goes, however it goes, input ends and
the whole process group is killed: the command and all it has started. (A parent-death signal alone
would reach the command but not its children, and fires when the starting *thread* ends.) Should this
guard be killed itself, the kernel kills the command.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_guard() -> None:
    """Ask the kernel to kill the calling process when the thread that forked it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def watch() -> None:
    """Block until the runner is gone, then kill the group, this process included."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Run the command to its end and pass its exit code on."""
    # A stop is sent to the whole group; the guard waits for the command to obey it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    # No thread runs yet, so that code between fork and exec is safe here.
    child = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        preexec_fn=end_with_guard,  # noqa: PLW1509
    )
    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())
