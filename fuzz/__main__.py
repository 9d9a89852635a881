"""`python -m fuzz`: see `scripts/fuzz --help`. Without a target it runs each in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.corpus import corpus
from fuzz.targets import TARGETS

_MEMORY_MB, _INPUT_SECONDS, _LONGEST = 1024, 5, 20_000


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Change the inputs of fuzz/seeds, guided by the code that they reach; run each reader "
        f"of strangers' bytes on them, in at most {_MEMORY_MB} MB and {_INPUT_SECONDS} s an input. What is "
        "found lies in the folder --found. The last line is JSON; exit code 0: nothing was found.",
    )
    parser.add_argument(
        "target", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; by default all"
    )
    parser.add_argument("--seconds", type=int, default=60, help="of each target (default: 60)")
    parser.add_argument("--found", type=Path, default=Path(tempfile.gettempdir(), "millrace-fuzz"))
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if strange := set(options.target) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(strange))}")
    if options.inside:
        _inside(options.inside, options.seconds, options.found)
    found = {name: _findings(name, options.seconds, options.found) for name in options.target or TARGETS}
    print(json.dumps({name: {"found": files, "peak_mb": peak} for name, (files, peak) in found.items()}))
    return 1 if any(files for files, _ in found.values()) else 0


def _findings(name: str, seconds: int, folder: Path) -> tuple[list[str], int]:
    """The files of what was found of one target, and the most memory in MB that its process took."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    before = set(place.iterdir())
    command = [
        sys.executable,
        "-m",
        "fuzz",
        "--inside",
        name,
        "--seconds",
        str(seconds),
        "--found",
        str(place),
    ]
    with (place / "log").open("w") as log:
        code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    made = sorted(str(path) for path in set(place.iterdir()) - before if path.name != "log")
    if code and not made:
        made = [f"{place / 'log'}: ended with {code}"]
    told = re.findall(r"rss: (\d+)Mb", (place / "log").read_text(errors="replace"))
    peak = max(map(int, told), default=0)
    print(f"{name}: {len(made)} found, {peak} MB at most", file=sys.stderr, flush=True)
    return made, peak


def _inside(name: str, seconds: int, folder: Path) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris  # noqa: PLC0415

    seeds = corpus(name)
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # Numba does not compile what is instrumented
    with atheris.instrument_imports(include=["schemas", "udfs", "millrace"]):
        for seed in seeds:  # imports what the target needs, instrumented
            TARGETS[name](seed)
    with tempfile.TemporaryDirectory() as grown:
        for number, seed in enumerate(seeds):
            Path(grown, f"seed-{number}").write_bytes(seed)
        flags = {
            "rss_limit_mb": _MEMORY_MB,
            "timeout": _INPUT_SECONDS,
            "max_len": max(_LONGEST, *map(len, seeds)),
            "max_total_time": seconds,
            "artifact_prefix": f"{folder}/",
        }
        atheris.Setup([sys.argv[0], *(f"-{k}={v}" for k, v in flags.items()), grown], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
