"""`millrace models write-back --aliases`: MLflow's aliases stand for what the registry's do."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request

import pytest
from typer.testing import CliRunner, Result

from millrace.cli import app
from millrace.mlflow_origin import Origin
from tests.registered import registered
from udfs.stores.registry.model_records import AliasChange
from udfs.stores.registry.models import ModelRegistry

URL = "http://mlflow:5000"


class FakeMlflow:
    """In the place of `urlopen`: the aliases of wine, whose version n is of run rn."""

    def __init__(self) -> None:
        self.aliases: dict[str, int] = {}
        self.calls: list[str] = []
        self.refused = ""

    def __call__(self, request: Request, timeout: float) -> io.BytesIO:
        url = urlsplit(request.full_url)
        what = f"{request.get_method()} {url.path.rpartition('/mlflow/')[2]}"
        self.calls.append(what)
        if isinstance(request.data, bytes):
            said = json.loads(request.data)
            if self.refused:
                raise HTTPError(request.full_url, 400, "no", {}, io.BytesIO(self.refused.encode()))  # type: ignore[arg-type]
            assert what.endswith(" registered-models/alias")
            if request.get_method() == "DELETE":
                del self.aliases[said["alias"]]
            else:
                self.aliases[said["alias"]] = int(said["version"])
            return io.BytesIO(b"{}")
        asked = {key: one for key, (one,) in parse_qs(url.query).items()}
        if asked["name"] != "wine":
            gone = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}'
            raise HTTPError(request.full_url, 404, "no", {}, io.BytesIO(gone))  # type: ignore[arg-type]
        if what == "GET registered-models/get":
            listed = [{"alias": alias, "version": str(n)} for alias, n in self.aliases.items()]
            return io.BytesIO(json.dumps({"registered_model": {"name": "wine", "aliases": listed}}).encode())
        known = {"name": "wine", "version": asked["version"], "run_id": f"r{asked['version']}"}
        return io.BytesIO(json.dumps({"model_version": known}).encode())


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    fake = FakeMlflow()
    monkeypatch.setattr("millrace.mlflow_models.urlopen", fake)
    return fake


@pytest.fixture
def known(tmp_path: Path) -> ModelRegistry:
    """Versions 3 and 4 of wine of MLflow, as forest; 4 of it as oak too; own is of no MLflow."""
    known = ModelRegistry(f"sqlite:///{tmp_path}/r.db")
    for name, version in (("forest", 3), ("forest", 4), ("oak", 4)):
        known.put(registered(version, name=name, source=str(Origin("wine", version, URL, f"r{version}"))))
    known.put(registered(5, name="forest", source=str(Origin("wine", 5, URL, "deleted"))))
    known.put(registered(6, name="forest"))
    known.put(registered(1, name="gone", source=str(Origin("gone", 1, URL, "r1"))))
    return known


@pytest.fixture
def run(known: ModelRegistry, there: FakeMlflow, tmp_path: Path) -> Any:
    def invoke(*more: str, ends: int = 0) -> Result:
        command = ["models", "write-back", "--registry", f"sqlite:///{tmp_path}/r.db", "--mlflow", URL]
        done = CliRunner().invoke(app, [*command, "--aliases", *more])
        assert done.exit_code == ends, done.output
        return done

    return invoke


def move(known: ModelRegistry, version: int, at: int, name: str = "forest", alias: str = "champion") -> None:
    known.set_alias(AliasChange("wine", name, alias, version, at))


def test_an_alias_follows_and_news_alone_are_written(
    run: Any, known: ModelRegistry, there: FakeMlflow
) -> None:
    there.aliases = {"champion": 3, "theirs": 3}
    move(known, 3, 1)
    assert "Aliases: 1 unchanged" in run().stdout
    move(known, 4, 2)
    assert "To write: wine@champion: version 4" in run("--dry-run").stdout and there.aliases["champion"] == 3
    done = run()
    assert "Written: wine@champion: version 4" in done.stdout and "Aliases: 1 written" in done.stdout
    assert there.aliases == {"champion": 4, "theirs": 3}
    there.calls.clear()
    assert "Aliases: 1 unchanged" in run().stdout and there.calls == ["GET registered-models/get"]


@pytest.mark.parametrize("to", [0, 6])  # none, and a version that is of no MLflow
def test_an_alias_that_stands_for_nothing_of_mlflow_is_taken_away_there(
    run: Any, known: ModelRegistry, there: FakeMlflow, to: int
) -> None:
    there.aliases = {"champion": 3}
    move(known, 3, 1)
    move(known, to, 2)
    assert "Written: wine@champion: no version" in run().stdout and not there.aliases
    there.aliases = {"champion": 2}  # somebody's own, since
    assert "Aliases: 1 unchanged" in run().stdout and there.aliases == {"champion": 2}


def test_a_promotion_to_another_name_is_one_move_there(
    run: Any, known: ModelRegistry, there: FakeMlflow
) -> None:
    there.aliases = {"champion": 3}
    move(known, 3, 1)
    move(known, 4, 2, "oak")
    done = run("--json", ends=1)
    (one,) = json.loads(done.stdout)["aliases"]
    assert (one["outcome"], there.aliases) == ("refused", {"champion": 3})
    assert one["reason"] == "it stands for versions 3 and 4 here, by several names or data types"
    move(known, 0, 3)
    run()
    assert there.aliases == {"champion": 4}


def test_what_is_gone_or_refused_is_told(run: Any, known: ModelRegistry, there: FakeMlflow) -> None:
    move(known, 5, 1)
    move(known, 1, 1, "gone")
    done = run()
    assert "Gone: wine@champion: version 5 there is of run r5, and another one" in done.stderr
    assert "Gone: gone@champion: MLflow at http://mlflow:5000 refuses with 404" in done.stderr
    assert "Aliases: 2 gone" in done.stdout and not there.aliases
    there.refused = '{"error_code": "INVALID_PARAMETER_VALUE", "message": "reserved"}'
    move(known, 4, 2)
    done = run("--name", "wine", ends=1)
    assert "Refused: wine@champion: MLflow at http://mlflow:5000 refuses with 400: reserved" in done.stderr
    assert "Gone: gone@champion" in run("--name", "gone").stderr
