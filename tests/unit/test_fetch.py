"""Fetching: only what lies under the roots, and only what was published."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys

import pytest

from schemas.errors import DigestError, FetchError, LocationError
from udfs.io.limits import Limits
from udfs.io.s3 import S3Options
from udfs.models import local_folder
from udfs.models.descriptor import Publication
from udfs.models.digest import digest_of
from udfs.models.fetch import bring, check_digest


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    (folder / "saved" / "variables").mkdir(parents=True)
    (folder / "a.pb").write_bytes(b"graph")
    (folder / "saved" / "saved_model.pb").write_bytes(b"meta")
    (folder / "saved" / "variables" / "v.index").write_bytes(b"index")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def fetch(publication, *how, **more):
    """As loading does it: brought here, then checked."""
    artifact = bring(publication, *how, **more)
    check_digest(publication, artifact)
    return artifact


def at(location, **more):
    return Publication(name="m", data_type="t", location=location, **more)


def test_inline_data_is_handed_on(scratch):
    artifact = fetch(Publication(name="m", data_type="t", data=b"abc", size=3), [], scratch)
    assert (artifact.data, artifact.path, artifact.scratch) == (b"abc", None, scratch)


@pytest.mark.parametrize("form", ["file:{}", "file://{}", "file://localhost{}"])
@pytest.mark.parametrize("root_form", ["{}", "file:{}", "file://{}"])
def test_a_file_is_copied_and_checked(root, scratch, form, root_form):
    sha256 = hashlib.sha256(b"graph").hexdigest()
    artifact = fetch(at(form.format(root / "a.pb"), sha256=sha256, size=5), [root_form.format(root)], scratch)
    (root / "a.pb").write_bytes(b"other")
    assert artifact.path.name == "a.pb"
    assert artifact.path.is_relative_to(scratch)
    assert artifact.path.read_bytes() == b"graph"


def test_a_name_with_a_space_travels_as_a_uri(root, scratch):
    (root / "my model.pb").write_bytes(b"x")
    artifact = fetch(at((root / "my model.pb").as_uri()), [str(root)], scratch)
    assert artifact.path.read_bytes() == b"x"


def test_a_folder_is_copied_whole_and_its_digest_is_checked(root, scratch):
    digest = digest_of(root / "saved")
    artifact = fetch(at(f"file:{root}/saved", sha256=digest.sha256, size=digest.size), [str(root)], scratch)
    assert digest.size == 9
    assert digest_of(artifact.path) == digest
    assert (artifact.path / "variables" / "v.index").read_bytes() == b"index"


def test_the_digest_of_a_folder_is_the_documented_one(root):
    lines = b""
    for name, content in (("saved_model.pb", b"meta"), ("variables/v.index", b"index")):
        sha256 = hashlib.sha256(content).hexdigest()
        lines += f"{name}\0{len(content)}\0{sha256}\n".encode()
    assert digest_of(root / "saved").sha256 == hashlib.sha256(lines).hexdigest()
    before = digest_of(root / "saved")
    (root / "saved" / "saved_model.pb").rename(root / "saved" / "renamed.pb")
    assert digest_of(root / "saved") != before


@pytest.mark.parametrize(
    "more", [{"size": 4}, {"sha256": "0" * 64}, {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 5}]
)
def test_other_content_than_published_is_refused(root, scratch, more):
    with pytest.raises(DigestError, match=r"published (was|were)"):
        fetch(at(f"file:{root}/a.pb", **more), [str(root)], scratch)
    with pytest.raises(DigestError):
        fetch(Publication(name="m", data_type="t", data=b"bytes", sha256="0" * 64), [], scratch)


@pytest.mark.parametrize(
    "location",
    [
        "file:{root}/../secret",
        "file:{root}/%2e%2e/secret",
        "file:{root}",
        "file:{root}x/a.pb",
        "file:/etc/hostname",
        "file:a.pb",
        "file://elsewhere{root}/a.pb",
        "file:{root}/a%00.pb",
        "{root}/a.pb",
        "FILE:{root}/a.pb",
        "http://127.0.0.1/a.pb",
        "s3a://bucket/a.pb",
        "s3://bucket/a.pb",
        "s3://models/other/a.pb",
        "s3://models/winery/a.pb",
        "s3://models/wine/../other/a.pb",
        "s3://models/wine",
        "s3://",
    ],
)
def test_nothing_but_the_roots_is_opened(root, scratch, location):
    with pytest.raises(LocationError) as refused:
        fetch(at(location.format(root=root)), [str(root), "s3://models/wine"], scratch)
    assert refused.value.step == "fetch"


def test_without_roots_no_location_is_opened(root, scratch):
    with pytest.raises(LocationError, match="allowed root"):
        fetch(at(f"file:{root}/a.pb"), [], scratch)


def test_a_link_out_of_the_root_is_refused(root, scratch, tmp_path):
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    for location in ("link", "folder/secret", "folder"):
        with pytest.raises(LocationError, match="outside the allowed root"):
            fetch(at(f"file:{root}/{location}"), [str(root)], scratch)
        (scratch / "fetched").rmdir()


def test_a_link_out_of_the_root_inside_a_folder_is_refused(root, scratch, tmp_path):
    (root / "saved" / "assets").symlink_to(tmp_path / "secret")
    with pytest.raises(LocationError, match="outside the allowed root"):
        fetch(at(f"file:{root}/saved"), [str(root)], scratch)
    assert not any(p.read_bytes() == b"secret" for p in scratch.rglob("*") if p.is_file())


def test_links_within_the_root_are_followed(root, scratch):
    # As Kubernetes mounts a config map: name -> ..data/name, ..data -> ..2024_01_01
    (root / "..2024_01_01").mkdir()
    (root / "..2024_01_01" / "m.pb").write_bytes(b"mounted")
    (root / "..data").symlink_to("..2024_01_01")
    (root / "m.pb").symlink_to("..data/m.pb")
    assert fetch(at(f"file:{root}/m.pb"), [str(root)], scratch).path.read_bytes() == b"mounted"


def test_a_root_reached_by_a_link_may_be_named_either_way(root, scratch, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    fetch(at(f"file:{tmp_path}/alias/a.pb"), [str(tmp_path / "alias")], scratch)
    (scratch / "fetched" / "a.pb").unlink()
    (scratch / "fetched").rmdir()
    fetch(at(f"file:{root}/a.pb"), [str(tmp_path / "alias")], scratch)


def test_a_link_swapped_in_after_the_check_makes_the_opening_fail(root, scratch, tmp_path, monkeypatch):
    inside = local_folder._inside

    def swap(path, real_root):
        real = inside(path, real_root)
        if path.name == "a.pb" and not path.is_symlink():
            path.unlink()
            path.symlink_to(tmp_path / "secret")
        return real

    monkeypatch.setattr(local_folder, "_inside", swap)
    with pytest.raises((FetchError, LocationError)):
        fetch(at(f"file:{root}/a.pb"), [str(root)], scratch)
    assert not any(p.is_file() for p in scratch.rglob("*"))


def test_a_named_pipe_or_a_circle_does_not_hold_the_load_up(root, scratch):
    os.mkfifo(root / "pipe")
    (root / "circle").mkdir()
    (root / "circle" / "again").symlink_to(root / "circle")
    (root / "self").symlink_to(root / "self")
    for location in ("pipe", "circle", "self", "absent"):
        with pytest.raises(FetchError):
            fetch(at(f"file:{root}/{location}"), [str(root)], scratch)
        for folder in sorted(scratch.rglob("*"), reverse=True):
            folder.rmdir()


def test_size_and_number_of_files_are_bounded(root, scratch):
    with pytest.raises(FetchError, match="more than the 8 bytes"):
        fetch(at(f"file:{root}/saved"), [str(root)], scratch, Limits(max_bytes=8))
    with pytest.raises(FetchError, match="more than the 2 bytes"):
        fetch(Publication(name="m", data_type="t", data=b"abc"), [], scratch, Limits(max_bytes=2))


def test_the_number_of_files_is_bounded(root, scratch):
    with pytest.raises(FetchError, match="more than the 1 files"):
        fetch(at(f"file:{root}/saved"), [str(root)], scratch, Limits(max_files=1))


def test_an_s3_that_does_not_answer_is_an_error_in_a_sentence(scratch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        options = S3Options(
            f"http://127.0.0.1:{nobody.getsockname()[1]}", "", True, "key", "hidden", 1.0, attempts=1
        )
        with pytest.raises(FetchError, match=r"s3://models/wine/a\.pb could not be read"):
            fetch(at("s3://models/wine/a.pb"), ["s3://models"], scratch, s3_options=options)
    assert "hidden" not in repr(options)


def test_the_module_imports_no_client():
    code = "import udfs.models.fetch, sys; sys.exit(int('boto3' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
