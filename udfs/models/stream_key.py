"""The key of a message on the model stream."""

from __future__ import annotations

from urllib.parse import quote

from udfs.models.descriptor import EXPERIMENT, Publication


def stream_key(published: Publication) -> bytes:
    """`DATA_TYPE/OPERATION/NAME`, so that compaction keeps the newest message of each name and kind.

    A withdrawal has a key of its own: under its model's it would be gone once the model is published again,
    and with it what it says of a plan of the same name. An order about an experiment has its version behind
    the name: a later one may be refused, and takes the place of none. A `/` within a name is written as %2F.
    """
    parts = [published.data_type, published.operation, published.name]
    if published.operation == EXPERIMENT:
        parts.append(str(published.version))
    return "/".join(quote(part, safe="") for part in parts).encode()
