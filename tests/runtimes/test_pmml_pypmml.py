"""What the compiler refuses is scored by pypmml, where the job allows it and the document's rows prove it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from schemas.errors import LoadError, ModelError, PredictError, UnprovenModelError
from tests.pmml_documents import document
from udfs.models.descriptor import build, parse
from udfs.models.loading import LoadPolicy
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.runtimes.pmml.loading import load
from udfs.models.sandbox.loader import Isolation, SandboxedLoader

FIELDS = ('<VerificationField field="x"/><VerificationField field="k"/>'
          '<VerificationField field="t" column="said" precision="1E-3"/>')  # fmt: skip


def text(cell: str = "7", fields: str = FIELDS, table: str = "") -> bytes:
    """3 x + 1, plus 5 for red; with an attribute that the compiler does not know."""
    rows = (
        f"<row><x>2</x><k>blue</k><said>{cell}</said></row><row><x>-1.5</x><k>red</k><said>1.5</said></row>"
    )
    told = f"<ModelVerification><VerificationFields>{fields}</VerificationFields>"
    return document(
        '<RegressionModel functionName="regression" x-note="1"><MiningSchema><MiningField name="x"/>'
        '<MiningField name="k"/><MiningField name="t" usageType="target"/></MiningSchema>'
        '<RegressionTable intercept="1"><NumericPredictor name="x" coefficient="3"/>'
        '<CategoricalPredictor name="k" value="red" coefficient="5"/></RegressionTable>'
        f"{told}<InlineTable>{table or rows}</InlineTable></ModelVerification></RegressionModel>",
        numeric=True,
    ).encode()


def loaded(data: bytes, **wanted: Any) -> Runtime:
    return load(Artifact(data, None, Path()), WantedSignature(pypmml=True, **wanted))


def columns(x: list[float | None], k: list[str | None]) -> dict[str, np.ndarray]:
    return {"x": np.array([np.nan if v is None else v for v in x]), "k": np.array(k, object)}


def test_it_says_that_pypmml_may_serve_it_and_does_not_unless_allowed() -> None:
    artifact = Artifact(text(), None, Path())
    with pytest.raises(UnprovenModelError, match=r"'x-note'.*check-model --pypmml"):
        load(artifact, WantedSignature())
    without = text().partition(b"<ModelVerification>")[0] + b"</RegressionModel></PMML>"
    with pytest.raises(UnprovenModelError, match=r"'x-note' of RegressionModel is not known$"):
        load(Artifact(without, None, Path()), WantedSignature())
    with pytest.raises(UnprovenModelError, match="rows of its own"):
        loaded(without)


def test_a_document_whose_rows_it_reproduces_is_scored() -> None:
    runtime = loaded(text(), outputs=(("predicted_t", "price"),))
    assert [(i.name, i.optional) for i in runtime.inputs] == [("x", False), ("k", False)]
    assert runtime.predict(columns([0.5, 4.0], ["red", "blue"]))["price"].tolist() == [7.5, 13.0]
    sample = runtime.sample(3)  # type: ignore[attr-defined]
    assert sample["x"].tolist() == [2.0, -1.5, 2.0] and sample["k"].tolist() == ["blue", "red", "blue"]
    for x, k in (([0.5, None], ["red", "red"]), ([0.5, np.inf], ["red", "red"]), ([0.5, 1.0], ["red", None])):
        with pytest.raises(PredictError, match="missing or infinite") as refused:
            runtime.predict(columns(x, k))
        assert list(refused.value.rows) == [1]
    runtime.close()
    runtime.close()
    with pytest.raises(PredictError, match="closed"):
        runtime.predict(columns([1.0], ["red"]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (text("7.1"), r"pypmml contradicts the model's own verification: row 1: t is 7\.1"),
        (text(fields=FIELDS + '<VerificationField field="odd" column="said"/>'), "lists odd, and pypmml"),
        (text(fields='<VerificationField field="x"/>'), "compares no result"),
        (text().replace(b'coefficient="3"', b'coefficient="three"'), "does not accept|three"),
    ],
)
def test_a_document_that_is_not_proven_stays_refused(data: bytes, reason: str) -> None:
    with pytest.raises((UnprovenModelError, LoadError), match=reason):
        loaded(data)


@pytest.fixture(params=["thread", "process"])
def loader(request: pytest.FixtureRequest) -> Iterator[SandboxedLoader]:
    mode: Literal["thread", "process"] = request.param
    made = SandboxedLoader(lambda _: LoadPolicy(pypmml=True, warm_up_batches=(1, 64)), Isolation(mode), 5.0)
    yield made
    made.close()


def test_it_is_checked_and_kept_as_any_other_model(loader: SandboxedLoader) -> None:
    model = loader.load(parse(build(data_type="t", model_type="PMML", data=text())))
    assert model.predict(columns([0.5], ["red"]))["predicted_t"].tolist() == [7.5]
    assert any("pypmml scores this model" in note for note in model.load_report.notes)
    model.close()
    with pytest.raises(ModelError, match="contradicts"):
        loader.load(parse(build(data_type="t", model_type="PMML", data=text("8"))))
