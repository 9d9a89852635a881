"""What scripts/setup decides on machines of several kinds, played by stand-ins for their commands."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from devservices.process import ROOT

_REAL = (
    "bash",
    "dirname",
    "readlink",
    "grep",
    "cat",
    "sha256sum",
    "mkdir",
    "id",
    "sed",
    "chmod",
    "rm",
    "env",
)
# Each stand-in writes down how it was called, and does what setup will look for.
_LOG = 'echo "$(basename_of "$0") $*" >>"$MACHINE/log"\n'
_STUB = (
    '#!/bin/bash\nbasename_of() { echo "${1#"$MACHINE"/}"; }\n'
    + _LOG
    + """
new() { mkdir -p "$(dirname "$1")"; cat "$MACHINE/bin/stub" >"$1"; chmod +x "$1"; }
case "$0 $*" in
*/id\\ -u) cat "$MACHINE/user" ;;
*/apt-cache\\ policy*) ! grep -qx "$2" "$MACHINE/in-apt" || echo "  Candidate: 3.11.2-6" ;;
*/apt-get\\ install*) for word; do [ "$word" != libpython3.11 ] || echo found >"$MACHINE/libpython"; done ;;
*/java\\ -version) echo 'openjdk version "17.0.1"' >&2 ;;
*/python*\\ -m\\ venv\\ *) for last; do true; done
    new "$last/bin/python"; new "$last/bin/pip"; new "$last/bin/uv"
    echo "home = $(cat "$MACHINE/home")" >"$last/pyvenv.cfg" ;;
*/uv\\ python\\ install*) [ -e "$MACHINE/downloads" ] || { echo "no route" >&2; exit 2; }
    new "$UV_PYTHON_INSTALL_DIR/cpython-3.11.9-linux-x86_64-gnu/bin/python3.11" ;;
*/python\\ -m\\ jobs.thread_mode) [ -e "$MACHINE/libpython" ] || { echo "thread mode fails"; exit 1; } ;;
esac
"""
)


@dataclass
class Machine:
    """A machine with a clone of the scripts, `commands` on its path, and packages `in_apt`."""

    root: Path
    commands: tuple[str, ...] = ()
    in_apt: tuple[str, ...] = ()
    user: str = "0"
    downloads: bool = False
    libpython: bool = True
    home: str = "/usr/bin"
    jdk: tuple[str, ...] = ("java", "javac")
    clone: Path = field(init=False)

    def __post_init__(self) -> None:
        bin_ = self.root / "bin"
        bin_.mkdir()
        for name in _REAL:
            (bin_ / name).symlink_to(shutil.which(name) or "")
        (bin_ / "id").unlink()
        (bin_ / "stub").write_text(_STUB)
        for name in ("id", "mvn", "redis-server", *self.commands):
            self._command(bin_ / name)
        for name in self.jdk:
            self._command(self.root / "jvm" / "java-17" / "bin" / name)
        for name, text in (("user", self.user), ("in-apt", "\n".join(self.in_apt)), ("home", self.home)):
            (self.root / name).write_text(text + "\n")
        for name, there in (("downloads", self.downloads), ("libpython", self.libpython)):
            if there:
                (self.root / name).touch()
        self.clone = self.root / "clone"
        (self.clone / "scripts").mkdir(parents=True)
        for name in ("setup", "env.sh", "installer.lock"):
            text = (ROOT / "scripts" / name).read_text()
            (self.clone / "scripts" / name).write_text(text.replace("/usr/lib/jvm", str(self.root / "jvm")))
        (self.clone / "requirements.lock").touch()
        (self.clone / "pyproject.toml").touch()

    def _command(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_STUB)
        path.chmod(0o755)

    def setup(self, *arguments: str) -> tuple[int, str]:
        """The exit code and what was said."""
        done = subprocess.run(
            ["/bin/bash", "scripts/setup", *arguments],
            cwd=self.clone,
            env={"PATH": str(self.root / "bin"), "MACHINE": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    def calls(self, *starts: str) -> list[str]:
        """The commands that were run and begin so, in order."""
        lines = (self.root / "log").read_text().splitlines()
        return [line for line in lines if line.startswith(starts)]


_DEBIAN = ("python3.11", "python3.11-venv", "libpython3.11")
_APT = ("apt-get", "apt-cache")


def test_where_apt_has_python_its_shared_library_comes_with_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path, commands=_APT, in_apt=_DEBIAN)
    code, said = machine.setup("--dry-run")
    assert code == 0
    assert "from apt-get: python3.11 python3.11-venv libpython3.11\n" in said
    assert "Python 3.11 from: apt\n" in said
    assert machine.calls("bin/apt-get install") == []


@pytest.mark.parametrize(
    ("commands", "user", "wanted"),
    [
        (_APT, "0", "python3 python3-venv"),
        ((*_APT, "python3"), "0", "nothing"),
        ((*_APT, "python3"), "1000", "nothing"),
        (("python3",), "1000", "nothing"),
    ],
)
def test_where_apt_has_none_uv_brings_its_own(
    tmp_path: Path, commands: tuple[str, ...], user: str, wanted: str
) -> None:
    machine = Machine(tmp_path, commands=commands, in_apt=("python3", "python3-venv"), user=user)
    code, said = machine.setup("--dry-run")
    assert code == 0
    assert f"from apt-get: {wanted}\n" in said
    assert "Python 3.11 from: uv\n" in said


def test_python_on_the_machine_is_used(tmp_path: Path) -> None:
    _, said = Machine(tmp_path, commands=(*_APT, "python3.11", "python3"), in_apt=_DEBIAN).setup("--dry-run")
    assert "from apt-get: nothing\nsetup: Python 3.11 from: machine\n" in said


def test_without_python_and_apt_the_missing_is_named(tmp_path: Path) -> None:
    code, said = Machine(tmp_path, user="1000").setup()
    assert code == 1
    assert "please install python3.11 python3.11-venv libpython3.11 " in said


@pytest.mark.parametrize(
    ("in_apt", "wanted"),
    [
        ((), "openjdk-17-jdk-headless"),
        (("openjdk-17-jdk-headless", "openjdk-21-jdk-headless"), "openjdk-17-jdk-headless"),
        (("openjdk-21-jdk-headless",), "openjdk-21-jdk-headless"),
    ],
)
@pytest.mark.parametrize("jdk", [("java",), ()])
def test_a_java_without_a_compiler_is_not_enough(
    tmp_path: Path, in_apt: tuple[str, ...], wanted: str, jdk: tuple[str, ...]
) -> None:
    machine = Machine(tmp_path, commands=(*_APT, "python3.11"), in_apt=in_apt, jdk=jdk)
    _, said = machine.setup("--dry-run")
    assert f"from apt-get: {wanted}\n" in said


def test_uv_makes_the_environment(tmp_path: Path) -> None:
    machine = Machine(tmp_path, commands=("python3",), user="1000", downloads=True)
    code, said = machine.setup()
    assert code == 0, said
    managed = "clone/.cache/python/cpython-3.11.9-linux-x86_64-gnu/bin/python3.11"
    calls = machine.calls("bin/python3 -m", ".cache/tools/bin/uv", managed)
    assert calls == [
        "bin/python3 -m venv .cache/tools",
        ".cache/tools/bin/uv python install --no-bin 3.11",
        f"{managed} -m venv --without-pip .venv",
        ".cache/tools/bin/uv pip sync -q --python .venv/bin/python --require-hashes requirements.lock",
        ".cache/tools/bin/uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .",
    ]
    # The second time everything is there.
    (tmp_path / "log").unlink()
    assert machine.setup() == (0, "")
    assert machine.calls("bin/python3 -m", ".cache/tools/bin/uv", managed) == []


def test_where_uv_cannot_download_the_remedy_is_named(tmp_path: Path) -> None:
    code, said = Machine(tmp_path, commands=("python3",), user="1000").setup()
    assert code == 1
    assert "no route" in said and "UV_PYTHON_INSTALL_MIRROR" in said


def test_a_shared_library_that_the_loader_does_not_find_is_installed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, commands=(*_APT, "python3.11"), in_apt=_DEBIAN, libpython=False)
    code, said = machine.setup()
    assert code == 0, said
    installed = "-y -qq --no-upgrade --no-install-recommends libpython3.11"
    assert machine.calls("bin/apt-get", ".venv/bin/python -m jobs") == [
        ".venv/bin/python -m jobs.thread_mode",
        f"bin/apt-get install {installed}",
        ".venv/bin/python -m jobs.thread_mode",
    ]


@pytest.mark.parametrize(("user", "home"), [("1000", "/usr/bin"), ("0", "/opt/python/bin")])
def test_where_setup_may_not_install_it_the_loader_is_quoted(tmp_path: Path, user: str, home: str) -> None:
    machine = Machine(
        tmp_path, commands=(*_APT, "python3.11"), in_apt=_DEBIAN, user=user, home=home, libpython=False
    )
    code, said = machine.setup()
    assert code == 1
    assert "setup: thread mode fails\n" in said
    assert machine.calls("bin/apt-get install") == []
