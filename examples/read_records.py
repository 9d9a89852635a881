"""Records to columns with a codec, as a job decodes them: which records are good, and why the others are
not."""

from __future__ import annotations

from millrace.codecs import CodecSpec, DType, Input, make_codec

RECORDS = [
    b'{"height": 1.5, "width": 2.0}',
    b'{"height": 3.0}',
    b'{"height": 0.5, "width": "wide"}',
    b"not JSON",
    b'{"width": 4, "height": 0.25, "note": "other fields do not matter"}',
]
INPUTS = [Input("size", DType.FLOAT32, (2,), ("height", "width"))]


def main() -> None:
    decoded = make_codec(CodecSpec("json")).decode(RECORDS, INPUTS)
    print(f"{decoded.count} good records: {decoded.columns['size'].tolist()}")
    for bad in decoded.bad:
        print(f"record {bad.row} is bad ({bad.code}): {bad.reason}")


if __name__ == "__main__":
    main()
