"""A fresh environment that holds the wheel and, of the locked packages, only what the wheel asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

from devservices.process import ROOT


def closure(own: Distribution, extras: Iterable[str]) -> dict[str, Distribution]:
    """The installed packages that `own` with its extras needs, by name, with what those need in turn.

    Fails where a requirement is not met by what is installed.
    """
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(text), extra) for extra in ("", *extras) for text in own.requires or ()]
    done = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name == own.name:
            waiting += [
                (Requirement(text), name) for name in requirement.extras for text in own.requires or ()
            ]
            continue
        one = distribution(requirement.name)
        assert requirement.specifier.contains(one.version, prereleases=True), f"{requirement}: {one.version}"
        found[requirement.name.lower()] = one
        for name in ("", *requirement.extras):
            if (requirement.name, name) not in done:
                done.add((requirement.name, name))
                waiting += [(Requirement(text), name) for text in one.requires or ()]
    return found


class FreshEnvironment:
    """A virtual environment in `folder` with the wheel and its `extras`, outside of the checkout.

    Packages are the files of the locked ones: nothing is downloaded. No symbolic links: a model's process may
    read below its environment only.
    """

    def __init__(self, folder: Path, wheel: Path, extras: Iterable[str] = ()) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = folder / "bin" / "python"
        self.site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        pip = ROOT / ".cache" / "tools" / "bin" / "pip"
        command = [pip, "--python", self.python, "install", "-q", "--no-deps", "--no-index", wheel]
        subprocess.run(list(map(str, command)), check=True)
        (self.wheel,) = (d for d in distributions(path=[str(self.site)]) if d.name == "millrace")
        for package in closure(self.wheel, extras).values():
            self._add(package)

    def _add(self, package: Distribution) -> None:
        for file in package.files or ():
            if ".." in file.parts or file.suffix == ".pyc":
                continue
            source, target = Path(str(package.locate_file(file))).resolve(), self.site / file
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except OSError:  # another file system
                shutil.copy2(source, target)

    def environment(self) -> dict[str, str]:
        """Variables for its processes: nothing of the checkout but the jars."""
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return kept | {"PATH": f"{self.python.parent}:{kept['PATH']}", "PYTHONNOUSERSITE": "1"}

    def run(self, *command: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """The command's result, run in the environment's own folder."""
        return subprocess.run(
            list(map(str, command)),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
