"""Keys of tests, a file of keys, and publications signed with them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from udfs.models.signing.keys import public_pem
from udfs.models.signing.signer import DescriptorSigner

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
ALL_RIGHTS = ("publish", "force", "unpublish", "decide")


def entry(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    data_types: Sequence[str] = ("*",),
    may: Sequence[str] = ALL_RIGHTS,
    more: str = "",
) -> str:
    """One entry of a file of keys, as TOML."""
    return (
        f"[keys.{json.dumps(name)}]\ndata_types = {json.dumps(data_types)}\nmay = {json.dumps(may)}\n{more}\n"
        f'public = """\n{public_pem(key.public_key()).decode()}"""\n'
    )


def keys_file(folder: Path, *entries: str) -> Path:
    path = folder / "keys.toml"
    path.write_text("\n".join(entries))
    return path


def signer(key: ec.EllipticCurvePrivateKey = KEY, **more: Any) -> DescriptorSigner:
    return DescriptorSigner(key, **{"audience": ("prod",), "now": time.time_ns} | more)
