"""Checkpoints whose index says what is not so: refused in one sentence, and before TensorFlow believes it."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import LoadError, UnsafeModelError
from tests.models import expected, layers, saved_model
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.tensorflow.checkpoint_index import _entries, check_index
from udfs.models.runtimes.tensorflow.saved_model import load
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
Entries = dict[bytes, Any]
W, B, TEXT = (name + b"/.ATTRIBUTES/VARIABLE_VALUE" for name in (b"w", b"b", b"t"))
DATA = "variables.data-00000-of-00001"


def number(value: int) -> bytes:
    made = b""
    while value >= 0x80:
        made, value = made + bytes([value & 0x7F | 0x80]), value >> 7
    return made + bytes([value])


def block(*entries: tuple[bytes, bytes], restarts: tuple[int, ...] = (0,)) -> bytes:
    """Of whole keys, whose places `restarts` says."""
    body = b"".join(number(0) + number(len(k)) + number(len(v)) + k + v for k, v in entries)
    return body + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(*blocks: bytes, packed: int = 0, handles: list[tuple[int, int]] | None = None) -> bytes:
    """Without checksums, at which nothing here looks. `handles`: what the index says of the blocks."""
    data, found = b"", []
    for content in (*blocks, block()):
        found.append((len(data), len(content)))
        data += content + bytes([packed]) + bytes(4)
    said = [(bytes([n]), number(a) + number(b)) for n, (a, b) in enumerate(handles or found[:-1])]
    index = block(*said)
    footer = number(found[-1][0]) + number(found[-1][1]) + number(len(data)) + number(len(index))
    return data + index + bytes(5) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint of a matrix `w`, a vector `b` and two texts `t`."""
    module = tf.train.Checkpoint(
        w=tf.Variable(tf.ones([3, 2])), b=tf.Variable([1.0, 2.0]), t=tf.Variable(["a", "bc"])
    )
    folder = tmp_path_factory.mktemp("checkpoint")
    module.write(str(folder / "variables"))
    return folder


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def change(folder: Path, changed: Callable[[Entries], object]) -> None:
    """Write the index again, with other entries."""
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

    path = folder / "variables.index"
    found = {
        k: (BundleEntryProto if k else BundleHeaderProto).FromString(v)
        for k, v in _entries(path.read_bytes())
    }
    changed(found)
    path.write_bytes(table(block(*((k, v.SerializeToString()) for k, v in sorted(found.items())))))


def setting(key: bytes, **values: Any) -> Callable[[Entries], object]:
    def changed(entries: Entries) -> None:
        dims = values.pop("dims", None)
        if dims is not None:
            del entries[key].shape.dim[:]
            for size in dims:
                entries[key].shape.dim.add(size=size)
        for name, value in values.items():
            setattr(entries[key], name, value)

    return changed


def sliced(count: int) -> Callable[[Entries], object]:
    def changed(entries: Entries) -> None:
        for _ in range(count):
            entries[W].slices.add().extent.add(start=0, length=1)

    return changed


def test_an_index_of_tensorflow_s_own_passes(checkpoint: Path, copy: Path) -> None:
    check_index(checkpoint / "variables")
    change(copy, lambda entries: None)
    check_index(copy / "variables")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (setting(W, shard_id=5), "'w' is in file 5 of 1"),
        (setting(W, shard_id=-1), "'w' is in file -1 of 1"),
        (setting(b"", num_shards=10**9), "variables.data-00000-of-1000000000 is not there"),
        (setting(W, offset=10**6), "'w' has 24 bytes at 1,000,000 of file 0, which has"),
        (setting(W, offset=-5), "'w' has 24 bytes at -5 of file 0"),
        (setting(W, size=10**9), "'w' has 1,000,000,000 bytes at"),
        (setting(W, size=-1), "'w' has -1 bytes"),
        (setting(W, size=8), "its type and shape need 24"),
        (setting(W, dtype=2), "its type and shape need 48"),
        (setting(W, dtype=999), "'w' is of the type 999"),
        (setting(W, dtype=21), "'w' is of the type 21"),
        (setting(W, dtype=101), "'w' is of the type 101"),
        (setting(W, dims=[2**40]), "its type and shape need 4,398,046,511,104"),
        (setting(W, dims=[2**62, 2**62]), "'w' has no possible shape"),
        (setting(W, dims=[-1, 2]), "'w' has no possible shape"),
        (setting(TEXT, dims=[10**8]), "its type and shape need 100,000,004"),
        (setting(TEXT, dims=[1]), "'t' has 9 bytes at .*, which its texts do not fill"),
        (lambda entries: setting(W, offset=entries[B].offset)(entries), "share bytes of file 0"),
        (sliced(10_000), "put together of more parts than there are"),
        (lambda entries: entries.pop(b""), "its index has no header"),
    ],
)
def test_an_index_that_says_what_is_not_so_is_refused(copy: Path, changed: Any, said: str) -> None:
    change(copy, changed)
    with pytest.raises(LoadError, match=f"the SavedModel's variables are damaged: .*{said}"):
        check_index(copy / "variables")


def test_texts_longer_than_their_file_are_refused(copy: Path) -> None:
    lengths = number(2**62) + number(1)
    data = (copy / DATA).read_bytes()
    (copy / DATA).write_bytes(data + lengths + b"sum.ab")
    change(copy, setting(TEXT, offset=len(data), size=len(lengths) + 6))
    with pytest.raises(LoadError, match="which its texts do not fill"):
        check_index(copy / "variables")


HEADER = (b"", b"\x08\x01")


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"x" * 100,
        table(),
        table(block(HEADER), packed=1),
        table(block(HEADER), handles=[(0, 2**40)]),  # ends the process, where TensorFlow takes memory for it
        table(block(HEADER), handles=[(0, 2)]),
        table(block(HEADER), block((b"a", b"")), handles=[(0, len(block(HEADER)))] * 2),
        table(block(HEADER, HEADER)),
        table(block(HEADER, (b"a", b"\xff"))),
        table(block((b"", b"\xff"))),
        table(block(HEADER, restarts=(0, 3))),  # a place within an entry
        table(number(0) + number(2**32 - 1) + number(2**32 - 1) + b"abc" + struct.pack("<2I", 0, 1)),
        table(number(50) + number(1) + number(1) + b"abc" + struct.pack("<2I", 0, 1)),
        table(b"\0" * 8 + b"\xff" * 4),
        table(b"\xff" * 30 + struct.pack("<2I", 0, 1)),
    ],
)
def test_an_index_that_is_no_table_is_refused(copy: Path, index: bytes) -> None:
    (copy / "variables.index").write_bytes(index)
    with pytest.raises(LoadError, match="the SavedModel's variables are damaged: its index cannot be read"):
        check_index(copy / "variables")


@pytest.mark.parametrize("gone", [DATA, "variables.index"])
def test_a_file_that_is_not_there_is_named(copy: Path, gone: str) -> None:
    (copy / gone).unlink()
    with pytest.raises(LoadError, match=f"{DATA} is not there|cannot be read: No such file"):
        check_index(copy / "variables")


def loaded(folder: Path) -> Any:
    return load(Artifact(None, folder, folder.parent), WantedSignature())


def test_a_saved_model_s_index_is_looked_at_before_tensorflow_looks(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "m")
    index = folder / "variables" / "variables.index"
    key = next(k for k, _ in _entries(index.read_bytes()) if k.endswith(b"VALUE"))
    change(index.parent, setting(key, shard_id=7))
    with pytest.raises(LoadError, match="is in file 7 of 1"):
        loaded(folder)


def test_variables_of_another_model_are_refused(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "m", layers(widths=(3, 4, 2)))
    x = np.ones((2, 3), "f4")
    np.testing.assert_allclose(loaded(model).predict({"x": x})["y"], expected(layers(), x), rtol=1e-5)
    other = saved_model(tmp_path / "other", layers(widths=(3, 5, 2)))
    shutil.rmtree(model / "variables")
    shutil.copytree(other / "variables", model / "variables")
    with pytest.raises(LoadError, match=r"is \[4, 2\] in the graph, and \[5, 2\] in variables/"):
        loaded(model)


def test_why_variables_cannot_be_restored_is_told(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "m")
    data = bytearray((model / "variables" / DATA).read_bytes())
    data[3] ^= 1
    (model / "variables" / DATA).write_bytes(data)
    with pytest.raises(LoadError, match=r"restored: .*Checksum does not match"):
        loaded(model)


@pytest.mark.parametrize("parts", [b"-1 -1 -:-", b"9223372036854775807 2 0,1:0,1", b"3 2 -5,9:0,2", b"junk"])
def test_parts_of_values_that_there_cannot_be_are_refused(tmp_path: Path, parts: bytes) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    folder = saved_model(tmp_path / "m")
    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    for node in (*graph.node, *(n for f in graph.library.function for n in f.node_def)):
        if node.name.startswith("RestoreV2/shape_and_slices"):
            texts = node.attr["value"].tensor
            texts.string_val[:] = [parts] * texts.tensor_shape.dim[0].size
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(UnsafeModelError, match="restores parts of values that there cannot be"):
        loaded(folder)
