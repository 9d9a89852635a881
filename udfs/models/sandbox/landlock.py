"""Landlock (Linux 5.13 and newer): a process without privileges gives up the right to touch files.

The numbers are those of `linux/landlock.h` and of the system call tables, the same on x86-64 and arm64.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_WRITE_FILE = 1 << 1
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""The version of the interface -> how many kinds of access to files it knows; later ones as 5."""
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_TCP = 0b11  # bind and connect, from version 4 on
_SCOPES = 0b11  # abstract sockets and signals, from version 6 on


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of Landlock that the kernel has; 0 for none."""
    found = _libc().syscall(_CREATE_RULESET, None, 0, _VERSION)
    return max(int(found), 0)


def restrict(readable: Iterable[str], writable: Iterable[str], *, tcp: bool) -> bool:
    """From here on this process and its children read and execute only what is below `readable`, write only
    what is below `writable`, and make no TCP connection unless `tcp` (from version 4 on). From version 6 on
    they signal none but each other.

    Paths that do not exist are passed over. Returns False where the kernel has no Landlock. Needs
    `no_new_privs`. Raises `OSError` where the kernel refuses a rule.
    """
    known = version()
    if not known:
        return False
    everything = (1 << _RIGHTS_BY_ABI.get(known, 16)) - 1
    attributes = _RulesetAttr(everything, 0 if tcp or known < 4 else _TCP, _SCOPES if known >= 6 else 0)
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    ruleset = _checked(_libc().syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0))
    try:
        for path in dict.fromkeys(readable):
            _allow(ruleset, path, _READ)
        for path in dict.fromkeys(writable):
            _allow(ruleset, path, everything)
        _checked(_libc().syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: str, access: int) -> None:
    if not os.path.exists(path):
        return
    if not Path(path).is_dir():
        access &= _ON_FILES | _TRUNCATE | _IOCTL_DEV
    at = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneathAttr(access, at)
        _checked(_libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(at)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
