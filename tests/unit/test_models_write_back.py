"""`millrace models write-back`: what MLflow is told of serving. A fake answers as its REST interface does."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from http.client import IncompleteRead
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request

import pytest
from typer.testing import CliRunner, Result

from millrace.cli import app
from millrace.mlflow_models import Mlflow
from millrace.mlflow_origin import Origin
from millrace.mlflow_served import LONGEST_VALUE, ServedVersion, served_there
from schemas.errors import SourceError
from schemas.results.records import EventKind
from tests.registered import digest, event, registered, stats
from udfs.lifecycle.repository.served import MODEL, PLAN, Served
from udfs.stores.registry.models import ModelRegistry

NOON = 1_795_867_200_000  # 2026-11-28T12:00:00Z
HOUR = 3_600_000
DAY = 24 * HOUR
URL = "http://mlflow:5000"
AS = "2026-11-28T"


class FakeMlflow:
    """In the place of `urlopen`: (name, version) -> (run, tags); `refused`: the answers to some requests."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
        self.refused: dict[str, tuple[int, bytes]] = {}  # by a part of the URL, or by a key that is set
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []

    def __call__(self, request: Request, timeout: float) -> io.BytesIO:
        assert timeout > 0
        url = urlsplit(request.full_url)
        self.calls.append(f"{request.get_method()} {url.path.rpartition('/mlflow/')[2]}")
        self.headers.append(dict(request.header_items()))
        for part, (status, body) in self.refused.items():
            if part in request.full_url or part in (self.sent(request) or {}).values():
                if not status:
                    raise URLError(body.decode())
                if status == 200:
                    return io.BytesIO(body)
                raise self.error(request, status, body)
        said = self.sent(request) or {key: one for key, (one,) in parse_qs(url.query).items()}
        found = self.versions.get((said["name"], said["version"]))
        if found is None:
            body = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"})
            raise self.error(request, 404, body.encode())
        run, tags = found
        if request.get_method() == "POST":
            assert len(said["value"]) <= 5000 and url.path.endswith("/model-versions/set-tag")
            tags[said["key"]] = said["value"]
            return io.BytesIO(b"{}")
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        known = {"name": said["name"], "version": said["version"], "run_id": run, "tags": listed}
        return io.BytesIO(json.dumps({"model_version": known}).encode())

    @staticmethod
    def sent(request: Request) -> dict[str, str] | None:
        return json.loads(request.data) if isinstance(request.data, bytes) else None

    @staticmethod
    def error(request: Request, status: int, body: bytes) -> HTTPError:
        return HTTPError(request.full_url, status, "no", {}, io.BytesIO(body))  # type: ignore[arg-type]


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    fake = FakeMlflow()
    monkeypatch.setattr("millrace.mlflow_models.urlopen", fake)
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
    ):
        monkeypatch.delenv(name, raising=False)
    fake.versions = {("wine", str(n)): (f"r{n}", {"team": "red"}) for n in (3, 4, 5)}
    return fake


@pytest.fixture
def known(tmp_path: Path) -> ModelRegistry:
    """Versions 3 and 4 of forest have served, and 4 does; 5 has not; one is of no MLflow, one of another."""
    known = ModelRegistry(f"sqlite:///{tmp_path}/r.db")
    for version in (3, 4, 5):
        known.put(registered(version, source=str(Origin("wine", version, URL, f"r{version}"))))
    known.put(registered(6, name="own"))
    known.put(registered(7, name="far", source=str(Origin("far", 7, "http://other:5000", "r7"))))
    known.add_events("serve", [event(EventKind.SERVED, NOON, 3), event(EventKind.SERVED, NOON + HOUR, 4)])
    return known


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One number: the time as the command has it."""
    at = [NOON + 2 * HOUR]
    monkeypatch.setattr("millrace.registered.time.time_ns", lambda: at[0] * 1_000_000)
    return at


@pytest.fixture
def run(known: ModelRegistry, there: FakeMlflow, clock: list[int], tmp_path: Path) -> Any:
    def invoke(*more: object, ends: int = 0) -> Result:
        command = ["models", "write-back", "--registry", f"sqlite:///{tmp_path}/r.db", "--mlflow", URL]
        done = CliRunner().invoke(app, [*command, *map(str, more)])
        assert done.exit_code == ends, done.output
        return done

    return invoke


def served(**more: Any) -> Served:
    told: dict[str, Any] = {
        "job": "serve", "kind": MODEL, "data_type": "wine", "name": "wine", "version": 3,
        "digest": digest("forest 3"), "since": NOON, "until": NOON + HOUR, "seen": NOON + HOUR,
        "subtasks": frozenset({0}), "ended": "replaced",
    }  # fmt: skip
    return Served(**told | more)


def tags(*intervals: Served, now: int = NOON + 2 * HOUR, silent_ms: int = DAY) -> tuple[str, str]:
    found = ServedVersion(Origin("wine", 3, URL), intervals).tags(now, silent_ms)
    assert list(found) == ["millrace.served", "millrace.serving"]
    return found["millrace.served"], found["millrace.serving"]


def test_versions_get_their_intervals_and_whether_they_serve(run: Any, there: FakeMlflow) -> None:
    done = run()
    assert there.versions["wine", "3"][1] == {
        "team": "red",
        "millrace.served": f"{AS}12:00:00Z/{AS}13:00:00Z serve (wine as forest 3), replaced",
        "millrace.serving": "false",
    }
    assert there.versions["wine", "4"][1] == {
        "team": "red",
        "millrace.served": f"{AS}13:00:00Z/.. serve (wine as forest 4)",
        "millrace.serving": "true",
    }
    assert there.versions["wine", "5"][1] == {"team": "red"}  # never served
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Written: wine version 3: millrace.served=2026") and len(lines) == 4
    assert lines[2:] == [
        "Versions: 2 written",
        "Skipped: 1 never served, 1 not from MLflow, 1 from http://other:5000",
    ]


def test_the_second_run_writes_nothing(run: Any, there: FakeMlflow, clock: list[int]) -> None:
    run()
    before = json.dumps(sorted(there.versions.items()))
    there.calls.clear()
    clock[0] += 10 * HOUR
    done = run()
    assert there.calls == ["GET model-versions/get"] * 2
    assert json.dumps(sorted(there.versions.items())) == before
    assert done.stdout.splitlines()[0] == "Versions: 2 unchanged"


def test_what_has_changed_is_written_and_nothing_else(
    run: Any, there: FakeMlflow, known: ModelRegistry
) -> None:
    run()
    known.add_events("serve", [event(EventKind.WITHDRAWN, NOON + 90 * 60_000, 4)])
    there.calls.clear()
    assert "Versions: 1 written, 1 unchanged" in run().stdout
    assert there.calls.count("POST model-versions/set-tag") == 2
    assert there.versions["wine", "4"][1]["millrace.serving"] == "false"
    ended = f"{AS}13:00:00Z/{AS}13:30:00Z serve (wine as forest 4), withdrawn"
    assert there.versions["wine", "4"][1]["millrace.served"] == ended


def test_a_dry_run_writes_nothing(run: Any, there: FakeMlflow) -> None:
    done = run("--dry-run")
    assert "To write: wine version 4: millrace.served=" in done.stdout and "2 to write" in done.stdout
    assert not [call for call in there.calls if call.startswith("POST")]


def test_a_version_of_which_nothing_is_heard_is_not_called_serving(
    run: Any, there: FakeMlflow, clock: list[int], known: ModelRegistry
) -> None:
    clock[0] = NOON + HOUR + DAY
    run()
    assert there.versions["wine", "4"][1]["millrace.serving"] == "true"
    clock[0] += 1
    run()
    assert there.versions["wine", "4"][1]["millrace.serving"] == "unknown"
    heard = f"{AS}13:00:00Z/? serve (wine as forest 4), heard {AS}13:00:00Z"
    assert there.versions["wine", "4"][1]["millrace.served"] == heard
    run("--silent-after", 25)
    assert there.versions["wine", "4"][1]["millrace.serving"] == "true"
    known.add_statistics("serve", [stats(NOON + HOUR, NOON + 3 * HOUR, 4)])
    run()
    assert there.versions["wine", "4"][1]["millrace.serving"] == "true"
    assert there.versions["wine", "4"][1]["millrace.served"] == f"{AS}13:00:00Z/.. serve (wine as forest 4)"


def test_an_end_stays_and_a_version_of_the_same_name_is_named() -> None:
    text, serving = tags(served(), served(version=7, ended=""), now=NOON + 9 * DAY)
    of = f"{AS}12:00:00Z/{AS}13:00:00Z serve (wine"
    assert (text, serving) == (f"{of}), replaced; {of} as wine 7)", "false")


def test_one_that_is_heard_of_is_enough_to_serve() -> None:
    silent = served(until=None, ended="", seen=NOON, job="killed")
    fresh = served(until=None, ended="", seen=NOON + DAY)
    text, serving = tags(fresh, silent, now=NOON + DAY + 1)
    assert serving == "true"
    assert text == f"{AS}12:00:00Z/.. serve (wine); {AS}12:00:00Z/? killed (wine), heard {AS}12:00:00Z"


def test_a_version_that_is_gone_is_told_and_the_rest_is_written(run: Any, there: FakeMlflow) -> None:
    del there.versions["wine", "3"]
    done = run()
    assert "Gone: wine version 3: MLflow at http://mlflow:5000 refuses with 404: not found" in done.stderr
    assert "Versions: 1 written, 1 gone" in done.stdout
    assert "millrace.served" in there.versions["wine", "4"][1]


def test_another_version_of_the_same_number_is_not_written_to(run: Any, there: FakeMlflow) -> None:
    there.versions["wine", "3"] = ("r9", {})
    done = run()
    assert "Gone: wine version 3: version 3 there is of run r9, and r3 was served" in done.stderr
    assert there.versions["wine", "3"][1] == {}


def test_one_that_goes_meanwhile_is_gone(run: Any, there: FakeMlflow) -> None:
    there.refused["millrace.served"] = (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "m"}')
    assert "Versions: 2 gone" in run().stdout


@pytest.mark.parametrize(
    "body",
    [b"<html>no such page</html>", b"[]", b"{}", b'{"message": 7}', b'{"error_code": "X", "message": "m"}'],
)
def test_a_refusal_is_told_and_the_rest_is_written(run: Any, there: FakeMlflow, body: bytes) -> None:
    there.refused["version=3"] = (404, body)
    done = run(ends=1)
    assert "Refused: wine version 3: MLflow at http://mlflow:5000 refuses with 404: " in done.stderr
    assert "Versions: 1 written, 1 refused" in done.stdout
    assert "millrace.served" in there.versions["wine", "4"][1]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"who?", "refuses with 401: who?"),
        (0, b"no route", "cannot be reached"),
        (
            200,
            b"<html>log in</html>",
            "answers as no MLflow server does: '<html>log in</html>'",
        ),
        (200, b"7", "answers as no MLflow server does: '7'"),
        (200, b'{"detail": "Not found"}', 'answers as no MLflow server does: \'{"detail"'),
    ],
)
def test_what_holds_of_every_version_ends_it_at_once(
    run: Any, there: FakeMlflow, status: int, body: bytes, said: str
) -> None:
    there.refused["model-versions"] = (status, body)
    done = run(ends=1)
    assert said in done.stderr and len(there.calls) == 1
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize("error", [TimeoutError("timed out"), IncompleteRead(b"x")])
def test_an_answer_that_breaks_off_is_a_server_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error

    monkeypatch.setattr("millrace.mlflow_models.urlopen", lambda *_, **__: Broken())
    with pytest.raises(SourceError, match=r"cannot be reached: (timed out|IncompleteRead)"):
        Mlflow(URL).run_and_tags("wine", 3)


def test_who_asks_is_in_the_environment_and_not_printed(
    run: Any, there: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    assert "t0ken" not in run().output
    assert {header["Authorization"] for header in there.headers} == {"Bearer t0ken"}
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    for password, asked in (("", "Bearer t0ken"), ("pass:word", "Basic YWRhOnBhc3M6d29yZA==")):
        there.headers.clear()
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        assert "pass:word" not in run().output
        assert {header["Authorization"] for header in there.headers} == {asked}


def test_one_server_under_several_urls(run: Any, there: FakeMlflow) -> None:
    there.versions["far", "7"] = ("r7", {})
    done = run("--also-from", "http://other:5000/")
    assert done.stdout.endswith("Skipped: 2 never served, 1 not from MLflow\n")


def test_only_one_model_and_one_that_is_not_there(run: Any, there: FakeMlflow, known: ModelRegistry) -> None:
    known.put(registered(8, name="tea", source=str(Origin("tea", 8, URL, "r8"))))
    known.add_events("serve", [event(EventKind.SERVED, NOON, 8, name="tea", digest=digest("forest 8"))])
    there.versions["tea", "8"] = ("r8", {})
    assert "Versions: 1 written" in run("--name", "tea").stdout
    assert "millrace.served" not in there.versions["wine", "3"][1]
    assert "knows no version of 'none'" in run("--name", "none", ends=1).stderr


def test_sites_do_not_write_over_each_other(run: Any, there: FakeMlflow) -> None:
    run()
    run("--site", "eu-1")
    assert {*there.versions["wine", "3"][1]} == {
        "team", "millrace.served", "millrace.serving", "millrace.eu-1.served", "millrace.eu-1.serving",
    }  # fmt: skip
    for site in ("a.b", "a b", "x" * 65):
        assert "is no --site" in run("--site", site, ends=1).stderr


def test_json_tells_each_version(run: Any, there: FakeMlflow) -> None:
    del there.versions["wine", "3"]
    told = json.loads(run("--json").stdout)
    assert [(one["name"], one["version"], one["outcome"]) for one in told["versions"]] == [
        ("wine", 3, "gone"),
        ("wine", 4, "written"),
    ]
    assert told["versions"][1]["tags"]["millrace.serving"] == "true" and told["versions"][0]["reason"]
    assert told["skipped"] == {
        "elsewhere": {"http://other:5000": 1}, "never_served": 1, "not_from_mlflow": 1,
    }  # fmt: skip


def test_nothing_to_write(tmp_path: Path, there: FakeMlflow) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    ModelRegistry(url).make()
    done = CliRunner().invoke(app, ["models", "write-back", "--registry", url, "--mlflow", URL])
    assert done.exit_code == 0 and "Versions: none" in done.stdout and not there.calls
    none = CliRunner().invoke(app, ["models", "write-back", "--registry", url])
    assert none.exit_code == 1 and "no http:// or https:// URL of an MLflow server" in none.stderr


def test_a_version_that_serves_under_several_names_is_one() -> None:
    source = str(Origin("wine", 3, URL, "r"))
    models = [
        registered(3, source=source),
        registered(3, data_type="tea", source=f"{source}"),
        registered(9, name="renamed", source=str(Origin("wine", 3, f"{URL}/", "r"))),
        registered(4, source=str(Origin("wine", 3, URL, "other"))),
        registered(10, source=str(Origin("wine", 10, URL, "r"))),
        registered(2, source=str(Origin("wine", 2, URL, "r"))),
    ]
    times = [
        replace(
            served(name=m.name, version=m.version, digest=m.digest), data_type=m.data_type, since=NOON + n
        )
        for n, m in enumerate(models)
    ]
    times.append(replace(times[0], digest=digest("another content")))
    times.append(replace(times[0], kind=PLAN))
    found = served_there(models, times, [URL])
    which = [(v.origin.version, v.origin.run, [t.since - NOON for t in v.intervals]) for v in found.versions]
    assert which == [(2, "r", [5]), (3, "other", [3]), (3, "r", [2, 1, 0]), (10, "r", [4])]
    assert (found.never_served, found.elsewhere, found.not_from_mlflow) == (0, {}, 0)


@pytest.mark.parametrize("job", ["serve", "s" * 500, "\x1b" * 500, "two\nlines"])
@pytest.mark.parametrize("count", [1, 2, 60, 100, 5000])
def test_values_are_bounded_and_say_what_is_left_out(job: str, count: int) -> None:
    times = [
        served(job=job, data_type=job, since=NOON + n * HOUR, until=NOON + (n + 1) * HOUR)
        for n in range(count)
    ]
    text, _ = tags(*reversed(times))
    parts = text.split("; ")
    left = int(parts[-1].split()[0]) if "earlier" in parts[-1] else 0
    told = len(parts) - (left > 0)
    assert len(text) <= LONGEST_VALUE and told + left == count and told > 0
    assert "\x1b" not in text and "\n" not in text
    if left:
        assert parts[-1] == f"{left} earlier since {AS}12:00:00Z"
        assert len(text) > LONGEST_VALUE - 60 - max(map(len, parts)) - len("; ")


def test_what_just_fits_is_told_and_one_character_more_is_not() -> None:
    full = served(job="j" * 200, data_type="d" * 200, name="n" * 200)
    last = served(job="", data_type="d" * 200)
    room = LONGEST_VALUE - len(tags(*[full] * 7, last)[0])
    assert 0 < room < 200
    fits, no_more = (tags(*[full] * 7, replace(last, job="j" * (room + n)))[0] for n in (0, 1))
    assert len(fits) == LONGEST_VALUE and "earlier" not in fits
    assert no_more.endswith(f"; 1 earlier since {AS}12:00:00Z")


def test_what_is_left_out_has_room_however_long_the_rest_is() -> None:
    for length in range(1, 120):
        text, _ = tags(*[served(job="j" * length)] * 150)
        assert len(text) <= LONGEST_VALUE and text.endswith(f" earlier since {AS}12:00:00Z")


def test_a_long_name_is_cut() -> None:
    text, _ = tags(served(job="j" * 201, data_type="d" * 200))
    assert f" {'j' * 197}... ({'d' * 200})" in text


def test_any_time_that_the_registry_holds_can_be_told() -> None:
    text, _ = tags(served(since=-(2**63), until=2**63 - 1))
    assert text.endswith("Z/292278994-08-17T07:12:55Z serve (wine), replaced")
