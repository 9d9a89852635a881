"""The tutorial's commands, word by word, in a clone of what is committed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from devservices.process import ROOT

SETUP = "scripts/setup"
"""The one command that is left out: it would install the packages once more. `scripts/try-fresh` runs it."""


def commands(document: Path) -> str:
    return "".join(re.findall(r"^```bash\n(.*?)^```$", document.read_text(), re.M | re.S))


def test_the_tutorial_ends_with_a_model_served_replaced_and_explained(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    for shared in (".venv", ".cache"):
        (clone / shared).symlink_to((ROOT / shared).resolve())
    script = commands(ROOT / "docs" / "tutorial.md")
    assert script.startswith(f"{SETUP}\n")
    usual = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "MILLRACE_JARS"}}
    running = subprocess.Popen(
        ["bash", "-e", "-c", script.removeprefix(f"{SETUP}\n")],
        cwd=clone,
        env=usual,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = running.communicate(timeout=400)
    finally:
        os.killpg(running.pid, signal.SIGKILL)  # the job too, where a command before its end failed
    assert running.returncode == 0, said[-3000:]
    prices = [
        (line.split("price=[")[1].split("]")[0], line) for line in said.splitlines() if "price=[" in line
    ]
    first, second = prices[:2], prices[-2:]
    assert {line.split("@")[1] for _, line in second} == {"0", "2"}  # the house between them has no rooms
    assert all(old != new for (old, _), (new, _) in zip(first, second, strict=True))
    assert '"reason":"field \'rooms\' is missing"' in said
    # what the job said of house 5, and what the file's own score says
    (stamped,) = re.findall(r'"id": 5.*"scores":\{"price":\[([0-9.]+)\]\}', said)
    again = re.findall(r'^\{"[a-z_0-9]+":\[([0-9.]+)\],"outcome":"scored"\}$', said, re.M)
    assert again[-1] == stamped
