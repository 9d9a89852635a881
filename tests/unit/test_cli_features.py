"""`millrace features`: a file of declarations goes in, and what reads them can be seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from millrace.cli import app
from tests.feature_cases import CREATOR, DECLARED, HOUSES
from udfs.stores.registry.sql import SqlRegistry


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.db"


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["features", *arguments], env={"MILLRACE_REGISTRY": url})


@pytest.fixture
def filled(url: str) -> str:
    SqlRegistry(url).apply(DECLARED)
    return url


def test_list_and_lineage_show_what_a_model_reads(filled: str) -> None:
    model = ["model", "estimate", "--data-type", "t", "--input", "last=houses_v1:price"]
    assert run(filled, *model, "--version", "2").exit_code == 0
    shown = {row["feature"]: row for row in json.loads(run(filled, "list", "--json").stdout)}
    assert shown["houses_v1:price"] == {
        "feature": "houses_v1:price",
        "type": "float64",
        "source": "sales",
        "through": [],
        "references": [],
        "read_by": ["estimate version 2"],
        "owner": "houses",
        "description": "A house's last price.",
    }
    assert shown["alarm_v2:latest"]["through"] == ["districts_v1"]
    owned = json.loads(run(filled, "list", "--json", "--owner", "houses").stdout)
    assert [row["feature"] for row in owned] == ["houses_v1:price"]
    table = run(filled, "lineage", "houses_v1:price").stdout
    assert "estimate version 2" in table and "sales" in table


def test_show_prints_the_declaration_and_the_creator(filled: str) -> None:
    path = "price=" + dict(CREATOR.paths)["price"]
    creator = ["on-demand", "houses_v1", "--url", CREATOR.url, "--path", path]
    assert run(filled, *creator, "--timeout-ms", "150").exit_code == 0
    shown = json.loads(run(filled, "show", "houses_v1").stdout)
    assert (shown["name"], shown["ttl"], shown["owner"]) == ("houses", HOUSES.ttl, "houses")
    assert shown["on_demand"]["timeout_ms"] == 150
    assert shown["on_demand"]["paths"] == [["price", "house.prices[-1].amount"]]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["show", "nothing_v1"], 1, "Error: the registry does not know the view 'nothing_v1'"),
        (["lineage", "houses_v1"], 2, "'houses_v1' is not VIEW_vVERSION:FEATURE"),
        (["lineage", "houses_v1:size"], 1, "no feature 'size'"),
        (["model", "m", "--data-type", "t", "--input", "x"], 2, "'x' is not NAME=VALUE"),
        (["on-demand", "houses_v1", "--url", "http://h/", "--path", "price=["], 1, "no JMESPath"),
    ],
)
def test_faults_are_one_sentence(filled: str, arguments: list[str], code: int, says: str) -> None:
    done = run(filled, *arguments)
    assert done.exit_code == code and says in " ".join(done.stderr.replace("│", "").split())


def test_without_a_registry_the_command_says_what_makes_one(url: str) -> None:
    done = run(url, "list")
    assert done.exit_code == 1 and "millrace features apply" in done.stderr
