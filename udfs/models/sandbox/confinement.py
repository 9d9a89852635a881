"""What a process that runs strangers' models gives up before it meets the first of them.

No system call filter is used: it would have to know every call of TensorFlow, its threads and the JVM. What
each measure stops is said where it is taken, and `confine` returns which of them are in force.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import sysconfig
from collections.abc import Sequence

from udfs.models.sandbox import landlock

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/opt", "/etc", "/proc", "/sys", "/dev")

NO_NEW_PRIVILEGES = "no new privileges"
NO_NETWORK = "no network"
FILES = "files read only, but for the scratch folder"


def cut_off_network() -> bool:
    """Move this process, which must have one thread, into a network of its own that has a loopback only.

    By privilege, or else by a user namespace; False where the system allows neither.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWNET) != 0:
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            return False
        _map_ids(uid, gid)
    _loopback_up()
    return True


def confine(readable: Sequence[str], writable: Sequence[str], *, network_cut: bool) -> tuple[str, ...]:
    """Give up what can be given up; returns the names of what is in force.

    Of files, what is below `readable` and `writable` remains, and the system's, Python's and the code's for
    reading. With Landlock comes that other processes cannot be signalled, traced or looked into.
    """
    done = [NO_NETWORK] if network_cut else []
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        done.append(NO_NEW_PRIVILEGES)
        try:
            # PMML's evaluator is reached by the loopback, which a network of its own has
            if landlock.restrict((*_readable(), *readable), ("/dev/null", *writable), tcp=True):
                done.append(FILES)
        except OSError:
            pass  # a kernel that has it and does not allow it is as one that has it not
    return tuple(done)


def die_with_parent(parent: int) -> None:
    """Be killed when the process (thread) that forked this one ends. `parent`: its id before the fork."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before that was said
        os._exit(1)


def _readable() -> list[str]:
    """The system, Python and the code; not the homes of users, nor other folders of data."""
    paths = [*_SYSTEM, sys.prefix, sys.base_prefix, os.path.realpath(sys.executable)]
    paths += [*sysconfig.get_paths().values(), *sys.path, os.environ.get("JAVA_HOME", "")]
    real = [os.path.realpath(path) for path in paths if path]
    return [path for path in real if path != "/"]


def _map_ids(uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError:  # then it is nobody, which it can live with
            continue


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        try:
            flags = struct.unpack("16sH22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
        except OSError:  # PMML will say that it has no evaluator; TensorFlow needs none
            return
