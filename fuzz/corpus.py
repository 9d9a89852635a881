"""What fuzzing begins with, and what it has found: small files, in `fuzz/seeds/TARGET/`."""

from __future__ import annotations

from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"


def corpus(target: str) -> list[bytes]:
    """In the order of their names."""
    return [path.read_bytes() for path in sorted((SEEDS / target).iterdir())]
