"""`unpack` gives the SavedModel folder of an honest archive, and refuses every other without a trace."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ArchiveError
from udfs.models.runtimes import archive
from udfs.models.runtimes.archive import unpack

MODEL = {"saved_model.pb": b"graph", "variables/variables.index": b"index" * 50}


def zip_of(files: dict[str, bytes], kind: int = 0, flag: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = kind << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, content)
        for entry in packed.infolist():
            entry.flag_bits |= flag
    return buffer.getvalue()


def tar_of(files: dict[str, bytes], mode: str = "w", kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as packed:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            entry.size = len(content) if kind == tarfile.REGTYPE else 0
            packed.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def refused(data: bytes, into: Path, match: str, max_bytes: int = 10_000, max_files: int = 20) -> None:
    around = sorted(into.parent.rglob("*"))
    with pytest.raises(ArchiveError, match=match):
        unpack(data, into, max_bytes, max_files)
    assert sorted(into.parent.rglob("*")) == around


PACKERS = {
    "zip": zip_of,
    "tar": tar_of,
    "tar.gz": lambda files: tar_of(files, "w:gz"),
}


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("prefix", ["", "1/", "./"])
@pytest.mark.parametrize("kind", PACKERS)
def test_an_honest_archive_is_unpacked(kind: str, prefix: str, into: Path) -> None:
    folder = unpack(PACKERS[kind]({prefix + n: c for n, c in MODEL.items()}), into, 10_000, 20)
    assert {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    } == MODEL
    assert folder.is_relative_to(into)


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/out", "a\\..\\out", "C:/out", "..", "a/.."])
def test_a_name_that_leaves_the_folder_is_refused(kind: str, name: str, into: Path) -> None:
    refused(PACKERS[kind](MODEL | {name: b"x"}), into, "leaves the folder")


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("name", ["n" * 256, "/".join(["long"] * 300)])
def test_a_name_too_long_is_refused(kind: str, name: str, into: Path) -> None:
    refused(PACKERS[kind](MODEL | {name: b"x"}), into, "too long a name")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, into: Path) -> None:
    refused(tar_of({"saved_model.pb": b""}, kind=kind, link="/etc/passwd"), into, "link, device or sparse")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(kind: int, into: Path) -> None:
    refused(zip_of(MODEL, kind=kind | 0o644), into, "link or a device")


def test_an_encrypted_zip_is_refused(into: Path) -> None:
    refused(zip_of(MODEL, flag=1), into, "encrypted")


@pytest.mark.parametrize("kind", PACKERS)
def test_the_bound_counts_what_is_written(kind: str, into: Path) -> None:
    files = MODEL | {"variables/zeros": bytes(20_000)}
    refused(PACKERS[kind](files), into, "unpacks to more than 10000 bytes")
    unpack(PACKERS[kind](files), into, sum(map(len, files.values())), 20)


def test_a_zip_that_lies_about_its_size_is_refused(into: Path) -> None:
    honest = zip_of({"saved_model.pb": bytes(50_000)})
    size = (50_000).to_bytes(4, "little")
    assert honest.count(size) == 2
    refused(honest.replace(size, (10).to_bytes(4, "little")), into, "damaged|more than")


@pytest.mark.parametrize(
    ("files", "bound", "match"),
    [
        ({"saved_model.pb": bytes(200_000)}, 100_000, "unpacks to more than 100000 bytes: it says 200000"),
        ({"saved_model.pb": bytes(200_000)}, 1 << 30, "unpacks to 200000, which is more than 200 times"),
        ({f"f{i}": b"" for i in range(21)}, 1 << 30, "more than 20 entries"),
        ({f"{'f' * 200}{i}": b"" for i in range(200)}, 1 << 30, "more than 20 entries: its directory has"),
    ],
)
def test_a_zip_is_judged_by_its_directory_before_it_is_read(
    files: dict[str, bytes], bound: int, match: str, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zip_of(files)
    monkeypatch.setattr(archive, "FREE_BYTES", 100_000)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("read"))
    refused(data, into, match, bound)


def test_a_gzip_bomb_is_stopped_before_it_is_read_as_a_tar(into: Path) -> None:
    refused(gzip.compress(bytes(1_000_000)), into, "unpacks to more than")


def test_a_gzip_is_unpacked_up_to_so_many_times_its_size(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FREE_BYTES", 100_000)
    data = tar_of({"saved_model.pb": bytes(10_000_000)}, "w:gz")
    refused(data, into, f"unpacks to more than {max(200 * len(data), 100_000)} bytes", 1 << 30)


@pytest.mark.parametrize("kind", PACKERS)
def test_too_many_entries_are_refused(kind: str, into: Path) -> None:
    refused(PACKERS[kind](MODEL | {f"f{i}": b"" for i in range(30)}), into, "more than 20 entries")


@pytest.mark.parametrize("kind", PACKERS)
def test_a_name_given_twice_or_as_file_and_folder_is_refused(kind: str, into: Path) -> None:
    refused(PACKERS[kind](MODEL | {"saved_model.pb/below": b"x"}), into, "damaged")
    refused(PACKERS[kind](MODEL | {"./saved_model.pb": b"x"}), into, "damaged")


@pytest.mark.parametrize("kind", PACKERS)
def test_an_archive_without_one_model_is_refused(kind: str, into: Path) -> None:
    refused(PACKERS[kind]({"readme": b"x"}), into, "no saved_model.pb")
    refused(PACKERS[kind]({"a/saved_model.pb": b"x", "b/saved_model.pb": b"x"}), into, "2 folders")
    refused(PACKERS[kind]({"1/2/3/4/5/saved_model.pb": b"x"}), into, "no saved_model.pb")


@pytest.mark.parametrize("kind", PACKERS)
def test_the_highest_version_of_tensorflow_servings_layout_is_taken(kind: str, into: Path) -> None:
    for around in ("", "export/wine/"):
        files = {f"{around}{v}/saved_model.pb": str(v).encode() for v in (2, 10, 9)}
        folder = unpack(PACKERS[kind](files), into, 10_000, 20)
        assert (folder / "saved_model.pb").read_bytes() == b"10"


def pax(content: bytes, size: int | None = None, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A tar that begins with this extended header, however wrong, and then holds a model."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = kind, len(content) if size is None else size
    return header.tobuf(tarfile.USTAR_FORMAT) + content + b"\0" * (-len(content) % 512) + tar_of(MODEL)


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (b"1" * 300_000, "extended header of 300000 bytes"),  # Python's own reader takes minutes for it
        (b"1" * 60_000, "damaged"),
        (b"1 " * 30_000, "damaged"),
        (b"99999 path=x\n", "damaged"),
        (b"12 path=x", "damaged"),
        (b"0 path=x\n", "damaged"),
        (b"15 size=-1024\n\n", "the size '-1024"),
        (b"\xff" * 20, "damaged"),
    ],
)
def test_extended_headers_of_a_tar_are_bounded(header: bytes, match: str, into: Path) -> None:
    refused(pax(header), into, match)


def test_honest_extended_headers_are_read(into: Path) -> None:
    name = "variables/" + "é" * 100
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as packed:
            for path, content in (MODEL | {name: b"long"}).items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mtime = len(content), 1.5
                packed.addfile(entry, io.BytesIO(content))
        assert (unpack(buffer.getvalue(), into, 10_000, 20) / name).read_bytes() == b"long"


def test_a_tar_of_a_negative_size_or_a_wrong_sum_is_refused(into: Path) -> None:
    data = bytearray(tar_of(MODEL))
    data[124:136] = b"\xff" * 12
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + sum(data[156:512]) + 8 * 32)
    refused(bytes(data), into, "it is damaged")
    data[148:156] = b"0000000\0"
    refused(bytes(data), into, "cut short or damaged")


@pytest.mark.parametrize("kind", PACKERS)
def test_an_archive_cut_anywhere_is_refused(kind: str, into: Path) -> None:
    data = PACKERS[kind](MODEL)
    # what follows a tar's end mark is padding
    end = 512 * 2 + 512 * 2 + 1024 if kind == "tar" else len(data)
    for length in range(0, end, 7):
        refused(data[:length], into, ".")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(PACKERS)), at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_raises_nothing_else_and_writes_nothing_outside(
    kind: str, at: float, bit: int, into: Path
) -> None:
    data = bytearray(PACKERS[kind](MODEL))
    data[int(at * len(data))] ^= 1 << bit
    before = sorted(into.parent.iterdir())
    with suppress(ArchiveError):
        unpack(bytes(data), into, 10_000, 20)
    assert sorted(into.parent.iterdir()) == before


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2000), st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08"]))
def test_random_bytes_are_refused(into: Path, data: bytes, start: bytes) -> None:
    refused(start + data, into, ".")
