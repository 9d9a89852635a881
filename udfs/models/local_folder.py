"""Models in a local (or mounted) folder: a copy is made, and no link leads out of the allowed root.

Every path is resolved and compared with the root, then opened step by step from the root's descriptor
without following links: a link that is swapped in between the two makes the opening fail, not escape.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from schemas.errors import FetchError, LocationError
from udfs.io.limits import Limits, Meter

_CHUNK = 1 << 20


def path_of(location: str) -> Path:
    """`file:/a`, `file:///a` and `file://localhost/a` -> `Path("/a")`; `%20` and the like are decoded.

    Raises `LocationError` for another host, a relative path, `..` or NUL.

    >>> path_of("file:///models/wine%201").as_posix()
    '/models/wine 1'
    """
    rest = location.removeprefix("file:")
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        rest = slash + rest
        if host not in ("", "localhost"):
            raise LocationError(f"{location!r} names the host {host!r}; a file location is local")
    path = Path(unquote(rest))
    if not path.is_absolute():
        raise LocationError(f"{location!r} is not absolute; write file:/folder/model")
    if ".." in path.parts or "\0" in path.as_posix():
        raise LocationError(f"{location!r} has a '..' or a NUL in it")
    return path


def copy(path: Path, root: Path, into: Path, limits: Limits) -> Path:
    """Copy the file or folder at `path`, which must be below `root` in truth, into the folder `into`.

    Raises `LocationError` where it is or leads outside, `FetchError` where it cannot be read.
    """
    real_root, meter, target = root.resolve(), Meter(limits, str(path)), into / path.name
    try:
        if not _inside(path, real_root).is_dir():
            _file(path, real_root, target, meter)
            return target
        # Below a folder only links to files are followed, so that no link can make a circle.
        for name in _names(path, real_root):
            meter.file()
            _file(path / name, real_root, target / name, meter)
        target.mkdir(exist_ok=True)
    except (OSError, RuntimeError) as e:
        raise FetchError(f"{path} could not be read: {e}") from e
    return target


def _inside(path: Path, real_root: Path) -> Path:
    real = path.resolve(strict=True)
    if not real.is_relative_to(real_root):
        raise LocationError(f"{path} leads to {real}, outside the allowed root {real_root}")
    return real


def _names(path: Path, real_root: Path) -> Iterator[Path]:
    folders = [Path()]
    while folders:
        folder = folders.pop()
        with _opened(_inside(path / folder, real_root), real_root, os.O_DIRECTORY) as fd:
            with os.scandir(fd) as entries:
                found = sorted((e.name, e.is_dir(follow_symlinks=False)) for e in entries)
            for name, is_folder in found:
                if is_folder:
                    folders.append(folder / name)
                else:
                    yield folder / name


def _file(path: Path, real_root: Path, target: Path, meter: Meter) -> None:
    # O_NONBLOCK: a named pipe must not hold the load up before its type is seen.
    with _opened(_inside(path, real_root), real_root, os.O_NONBLOCK) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FetchError(f"{path} is not a regular file (links to folders are not followed)")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            while chunk := os.read(fd, _CHUNK):
                meter.bytes(len(chunk))
                out.write(chunk)


@contextmanager
def _opened(real: Path, real_root: Path, flags: int) -> Iterator[int]:
    fd = os.open(real_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        steps = real.relative_to(real_root).parts
        for i, step in enumerate(steps):
            how = flags if i == len(steps) - 1 else os.O_DIRECTORY
            inner = os.open(step, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | how, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)
