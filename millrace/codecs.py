"""Codecs: how records are read. `make_codec(CodecSpec(...))` gives what the jobs use for the same settings.

```
codec = make_codec(CodecSpec("json"))
decoded = codec.decode(payloads, [Input("x", DType.FLOAT32, (2,), ("height", "width"))])
decoded.columns["x"]    # float32 of shape (good, 2)
decoded.bad             # the records that could not be read: row, code (`Code`) and reason
```
"""

from __future__ import annotations

from schemas.codecs.base import Code, Codec
from schemas.codecs.factory import CodecSpec, RegistrySpec
from schemas.tensors import BadRecord, Decoded, DType, Input
from udfs.io.record_codecs import open_codec as make_codec

__all__ = [
    "BadRecord",
    "Code",
    "Codec",
    "CodecSpec",
    "DType",
    "Decoded",
    "Input",
    "RegistrySpec",
    "make_codec",
]
