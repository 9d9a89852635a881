"""The example that publishes a model: what it writes, a job would serve."""

from __future__ import annotations

from pathlib import Path

from example_runs import run_example

from udfs.models.descriptor import parse


def test_the_published_model_is_in_the_folder(tmp_path: Path) -> None:
    (said,) = run_example("publish_model.py", tmp_path)
    (file,) = tmp_path.glob("*.model")
    model = parse(file.read_bytes())
    assert (model.data_type, model.name, model.model_type) == ("houses", "price", "PMML")
    assert said == f"price version {model.version} ({model.sha256[:8]}) is at {file}"
