"""S3 as far as boto3 speaks it over the wire, against a small store in this process."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from millrace.upload import upload
from schemas.errors import DigestError, FetchError, LocationError, SourceError
from udfs.io.limits import Limits
from udfs.io.s3 import S3Options
from udfs.models.descriptor import Publication
from udfs.models.digest import digest_of
from udfs.models.fetch import bring, check_digest


class Store(BaseHTTPRequestHandler):
    """`/bucket/key` with path-style addresses: PUT, HEAD, GET, and the listing of a prefix."""

    objects: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            size, _, rest = body.partition(b"\r\n")
            body = rest[: int(size.split(b";")[0], 16)]
        self.objects[unquote(urlsplit(self.path).path)] = body
        self._answer(200)

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if "list-type" in query:
            start = url.path.rstrip("/") + "/"
            keys = [k.removeprefix(start) for k in sorted(self.objects) if k.startswith(start)]
            found = "".join(
                f"<Contents><Key>{k}</Key></Contents>" for k in keys if k.startswith(query["prefix"][0])
            )
            self._answer(200, f"<ListBucketResult>{found}</ListBucketResult>".encode())
        elif unquote(url.path) in self.objects:
            self._answer(200, self.objects[unquote(url.path)])
        else:
            self._answer(404)

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture
def store():
    class Mine(Store):
        objects: dict[str, bytes] = {}  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    options = S3Options(f"http://127.0.0.1:{server.server_port}", "", True, "key", "secret", 5.0, 1)
    yield options, Mine.objects
    server.shutdown()
    thread.join()
    server.server_close()


def _fetch(location, options, scratch, limits=None, **more):
    published = Publication(name="m", data_type="t", location=location, **more)
    artifact = bring(published, ["s3://models/wine"], scratch, limits, options)
    check_digest(published, artifact)
    return artifact


def test_an_object_is_fetched_and_its_digest_checked(store, tmp_path):
    options, objects = store
    objects["/models/wine/a.pb"] = b"graph"
    artifact = _fetch("s3://models/wine/a.pb", options, tmp_path, sha256=digest_of(b"graph").sha256)
    assert (artifact.path.name, artifact.path.read_bytes()) == ("a.pb", b"graph")


def test_other_content_is_refused(store, tmp_path):
    options, objects = store
    objects["/models/wine/a.pb"] = b"forged"
    with pytest.raises(DigestError):
        _fetch("s3://models/wine/a.pb", options, tmp_path, sha256=digest_of(b"graph").sha256)


def test_a_prefix_is_fetched_as_a_folder(store, tmp_path):
    options, objects = store
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    for name, content in (("saved_model.pb", b"meta"), ("variables/v.index", b"index")):
        (tmp_path / "saved" / name).write_bytes(content)
        objects[f"/models/wine/1/{name}"] = content
    objects["/models/wine/1/variables/"] = b""  # how a console marks a folder
    objects["/models/wine/10/saved_model.pb"] = b"another version"
    digest = digest_of(tmp_path / "saved")
    artifact = _fetch("s3://models/wine/1/", options, tmp_path, sha256=digest.sha256, size=digest.size)
    assert digest_of(artifact.path) == digest


def test_a_key_that_climbs_out_of_the_folder_is_refused(store, tmp_path):
    options, objects = store
    objects["/models/wine/1/saved_model.pb"] = b"meta"
    objects["/models/wine/1/../../../escaped"] = b"x"
    with pytest.raises(LocationError, match=r"'\.\.'"):
        _fetch("s3://models/wine/1", options, tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize("limits", [Limits(max_bytes=9), Limits(max_files=1)])
def test_size_and_number_are_bounded(store, tmp_path, limits):
    options, objects = store
    objects["/models/wine/1/a"] = objects["/models/wine/1/b"] = b"12345"
    with pytest.raises(FetchError, match="more than"):
        _fetch("s3://models/wine/1", options, tmp_path, limits)


def test_nothing_there_is_said(store, tmp_path):
    with pytest.raises(FetchError, match="no object and no folder"):
        _fetch("s3://models/wine/absent", store[0], tmp_path)


def test_a_file_that_changed_since_it_was_checked_is_not_uploaded(store, tmp_path):
    options, objects = store
    (tmp_path / "m.pmml").write_bytes(b"<PMML/>")
    digest = digest_of(tmp_path / "m.pmml")
    (tmp_path / "m.pmml").write_bytes(b"<PMML></PMML>")
    with pytest.raises(SourceError, match="changed while it was published"):
        upload(tmp_path / "m.pmml", "s3://models/wine", "wine", digest.sha256, options)
    assert objects == {}


def test_what_was_uploaded_is_what_is_fetched(store, tmp_path):
    options, objects = store
    (tmp_path / "m.pmml").write_bytes(b"<PMML/>")
    digest = digest_of(tmp_path / "m.pmml")
    location = upload(tmp_path / "m.pmml", "s3://models/wine", "red wine", digest.sha256, options)
    assert location == f"s3://models/wine/red%20wine/{digest.sha256}.pmml"
    assert len(objects) == 1
    assert _fetch(location, options, tmp_path, sha256=digest.sha256).path.read_bytes() == b"<PMML/>"
