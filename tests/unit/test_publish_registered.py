"""`millrace publish --registry`: what a publisher knows is kept, and comes back from the descriptor that was
sent."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from millrace.cli import app
from tests.feature_cases import DECLARED, INPUTS
from tests.onnx_models import dense
from udfs.lifecycle.repository.published import contents_of, model_of, plan_of, with_content
from udfs.models.descriptor import DECIDE, build, parse
from udfs.models.digest import digest_of
from udfs.stores.registry.models import ModelRegistry
from udfs.stores.registry.sql import SqlRegistry


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(dense(np.array([[1.0], [2.0]], np.float32)))
    return path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.db"


def publish(model: Path, *more: object) -> Any:
    arguments = ["publish", model, "--data-type", "wine", "--field", "a,b", "--to-folder", model.parent / "s"]
    return CliRunner().invoke(app, [str(a) for a in (*arguments, *more)])


def test_what_a_publisher_knows_is_kept(model: Path, url: str, tmp_path: Path) -> None:
    trained = tmp_path / "train.csv"
    trained.write_bytes(b"a,b,y\n1,2,3\n")
    done = publish(
        model, "--registry", url, "--name", "linear", "--version", 4, "--description", "d",
        "--metric", "mae=0.5@holdout", "--metric", "mae=0.4@live", "--tag", "team=red", "--publisher", "ada",
        "--code-version", "f00", "--training-set", trained, "--view", "houses_v1",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Registered: linear version 4" in done.output
    (kept,) = ModelRegistry(url).models()
    assert (kept.data_type, kept.name, kept.version, kept.model_type) == ("wine", "linear", 4, "ONNX")
    assert kept.digest == digest_of(model).sha256 and kept.size == model.stat().st_size
    assert (kept.publisher, kept.code_version, kept.description, kept.tags) == (
        "ada", "f00", "d", {"team": "red"},
    )  # fmt: skip
    assert kept.release and kept.created
    assert [(m.name, m.value, m.dataset) for m in kept.metrics] == [
        ("mae", 0.5, "holdout"),
        ("mae", 0.4, "live"),
    ]
    assert kept.training_set is not None
    assert (kept.training_set.digest, kept.training_set.views) == (
        digest_of(trained).sha256,
        ("houses_v1",),
    )
    assert [(i.dtype, i.shape, i.fields) for i in kept.inputs] == [("float32", (2,), ("a", "b"))]
    assert [o.dtype for o in kept.outputs] == ["float32"]


def test_views_are_those_that_the_model_is_known_to_read(model: Path, url: str) -> None:
    features = SqlRegistry(url)
    features.apply(DECLARED)
    features.put_model(INPUTS)
    done = publish(model, "--registry", url, "--name", INPUTS.model)
    assert done.exit_code == 0, done.output
    trained = ModelRegistry(url).models()[0].training_set
    assert trained is not None
    assert trained.views == tuple(sorted({ref.view for _, ref in INPUTS.inputs}))


def test_nothing_is_published_where_it_could_not_be_registered(model: Path, url: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "registry.db") as file:
        file.execute("CREATE TABLE millrace_schema (version INTEGER)")
        file.execute("INSERT INTO millrace_schema VALUES (99)")
    for more, said in (
        (("--registry", url), "has schema 99"),
        (("--registry", f"sqlite:///{tmp_path}/o.db", "--training-set", tmp_path / "none"), "cannot be read"),
    ):
        done = publish(model, *more)
        assert done.exit_code == 1 and said in done.stderr
    assert publish(model, "--tag", "a=b").exit_code == 2
    assert not (tmp_path / "s").exists()


def test_without_a_registry_nothing_is_registered(model: Path, tmp_path: Path) -> None:
    done = publish(model, "--metric", "mae=0.5@holdout", "--metric", "mae=0.4")
    assert done.exit_code == 0 and "Registered" not in done.output
    (path,) = (tmp_path / "s").iterdir()
    assert parse(path.read_bytes()).metrics == (("mae", 0.5),)


def test_a_descriptor_is_kept_without_content_and_loads_with_it(model: Path) -> None:
    data = model.read_bytes()
    inline = build(data_type="wine", name="linear", model_type="ONNX", data=data, version=4, created_ms=5)
    kept = model_of(inline)
    assert kept is not None and len(kept.descriptor) < len(inline) and contents_of(inline) == []
    again = with_content(kept.descriptor, {kept.digest: model.as_uri()}.get)
    assert (again.location, again.sha256, again.version, again.data) == (
        model.as_uri(), kept.digest, 4, None,
    )  # fmt: skip
    located = build(
        data_type="wine",
        model_type="ONNX",
        location="s3://b/m",
        version=1,
        sha256=kept.digest,
        size=len(data),
    )
    assert [(c.digest, c.location) for c in contents_of(located)] == [(kept.digest, "s3://b/m")]
    assert model_of(build(data_type="wine", model_type="ONNX", data=data)) is None  # of no version
    plan = build(data_type="wine", operation=DECIDE, plan="{}", version=2, created_ms=3)
    assert model_of(plan) is None
    found = plan_of(plan)
    assert found is not None and (found.name, found.version, found.plan) == ("plan", 2, "{}")
    assert plan_of(inline) is None
