"""Checked loading: each step can refuse, and then nothing is left behind."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from schemas.errors import (
    DigestError,
    InputsError,
    LoadError,
    LocationError,
    ModelError,
    PredictError,
    SmokeTestError,
    UnsafeModelError,
)
from schemas.tensors import DType, Input, Output
from udfs.models import smoke_test
from udfs.models.descriptor import Publication
from udfs.models.loading import LoadPolicy, load_model
from udfs.models.warm_up import Budget


class Sum:
    """A runtime that adds the two numbers of each row."""

    def __init__(self, artifact, wanted, answer=None, refuses_above=None):
        self.artifact, self.wanted = artifact, wanted
        self.inputs = (Input("x", DType.FLOAT64, (2,), ("a", "b")),)
        self.outputs = (Output("sum", DType.FLOAT64),)
        self.answer, self.refuses_above = answer, refuses_above
        self.closed = 0
        self.batches: list[int] = []

    def predict(self, columns):
        x = columns["x"]
        self.batches.append(len(x))
        if self.refuses_above is not None and len(x) > self.refuses_above:
            raise PredictError("too many rows")
        return {"sum": x.sum(axis=1)} if self.answer is None else self.answer(x)

    def close(self):
        self.closed += 1


PUBLISHED = Publication(
    name="sum", data_type="pairs", model_type="PMML", version=7, data=b"model", description="adds"
)


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def policy(scratch):
    return LoadPolicy(scratch=str(scratch), fields=("a", "b"), warm_up_batches=(1, 8))


@pytest.fixture
def made():
    return []


@pytest.fixture
def sums(made):
    def runtimes(**how):
        def load(artifact, wanted):
            (artifact.scratch / "unpacked").write_bytes(b"x")
            made.append(Sum(artifact, wanted, **how))
            return made[-1]

        return {"PMML": load}

    return runtimes


def test_a_good_model_scores_and_says_what_it_is(policy, sums, made, scratch):
    model = load_model(PUBLISHED, policy, sums())
    assert model.stamp.digest == hashlib.sha256(b"model").hexdigest()
    assert (model.stamp.name, model.stamp.version, model.stamp.data_type) == ("sum", 7, "pairs")
    assert (model.stamp.model_type, model.stamp.description) == ("PMML", "adds")
    assert model.stamp.since > 1_600_000_000_000
    assert model.inputs == made[0].inputs
    assert model.outputs == made[0].outputs
    assert made[0].wanted.fields == ("a", "b")
    assert model.predict({"x": np.array([[1.0, 2.0]])})["sum"].tolist() == [3.0]
    assert set(made[0].batches) == {1, 3, 8, 13, 16}
    assert list(model.load_report.seconds) == ["fetch", "digest", "load", "trial", "warm-up"]
    assert list(model.load_report.warm_up_ms) == [1, 8]
    assert model.load_report.size == 5
    assert len(list(scratch.iterdir())) == 1
    model.close()
    model.close()
    assert made[0].closed == 1
    assert list(scratch.iterdir()) == []
    with pytest.raises(PredictError, match="closed"):
        model.predict({"x": np.zeros((1, 2))})


def test_the_digest_is_of_what_was_loaded_even_if_none_was_stated(tmp_path, policy, sums):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "m").write_bytes(b"from afar")
    published = Publication(name="m", data_type="t", model_type="PMML", location=f"file:{tmp_path}/root/m")
    policy = LoadPolicy(roots=(str(tmp_path / "root"),), scratch=policy.scratch, warm_up_batches=())
    model = load_model(published, policy, sums())
    assert model.stamp.digest == hashlib.sha256(b"from afar").hexdigest()
    model.close()


def _refused(published, policy, runtimes, error, step) -> str:
    with pytest.raises(ModelError) as refused:
        load_model(published, policy, runtimes)
    assert type(refused.value) is error
    assert refused.value.step == step
    return str(refused.value)


def test_a_failed_fetch_leaves_nothing(policy, sums, scratch):
    away = Publication(name="m", data_type="t", model_type="PMML", location="file:/etc/hostname")
    _refused(away, policy, sums(), LocationError, "fetch")
    assert list(scratch.iterdir()) == []


def test_other_bytes_than_published_are_never_loaded(policy, sums, made, scratch):
    forged = Publication(name="m", data_type="t", model_type="PMML", data=b"x", sha256="0" * 64)
    _refused(forged, policy, sums(), DigestError, "digest")
    assert made == []
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "error", "step"),
    [
        (UnsafeModelError("reads files"), UnsafeModelError, "safety"),
        (InputsError("no such field"), InputsError, "inputs"),
        (ZeroDivisionError("by zero"), LoadError, "load"),
        (MemoryError(), LoadError, "load"),
    ],
)
def test_a_refusal_of_the_runtime_keeps_its_step(policy, scratch, raised, error, step):
    def load(artifact, wanted):
        raise raised

    reason = _refused(PUBLISHED, policy, {"PMML": load}, error, step)
    assert str(raised) in reason
    if error is LoadError:
        assert type(raised).__name__ in reason
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda x: {}, "output 'sum'"),
        (lambda x: {"sum": x}, "shape"),
        (lambda x: {"sum": x[:1, 0]}, "shape"),
        (lambda x: {"sum": np.full(len(x), np.nan)}, "not finite"),
        (lambda x: {"sum": np.array([None] * len(x), dtype=object)}, "missing"),
        (lambda x: {"sum": np.array([float("nan")] * len(x), dtype=object)}, "missing"),
    ],
)
def test_a_wrong_answer_is_refused_in_the_smoke_test(policy, sums, made, answer, word):
    assert word in _refused(PUBLISHED, policy, sums(answer=answer), SmokeTestError, "trial")
    assert made[0].closed == 1
    assert not made[0].artifact.scratch.exists()


def test_a_model_that_cannot_take_a_batch_is_refused_in_the_smoke_test(policy, sums, made):
    assert "too many rows" in _refused(PUBLISHED, policy, sums(refuses_above=1), SmokeTestError, "trial")
    assert made[0].closed == 1


def test_a_model_that_cannot_take_the_batch_in_use_is_refused_in_the_warm_up(policy, sums, made):
    _refused(PUBLISHED, policy, sums(refuses_above=3), SmokeTestError, "warm-up")
    assert made[0].closed == 1


def test_the_warm_up_asks_for_no_rows_that_the_smoke_test_did_not_try(policy, sums):
    seen = []

    def answer(x):
        seen.append(x)
        # a fourth row that is made up would be one on which the model is not finite
        wrong = np.full(len(x), np.nan)
        return {"sum": np.where((x[:, None] == seen[1]).all(-1).any(-1), x.sum(1), wrong)}

    seen.append(None)
    first = smoke_test.generated([Input("x", DType.FLOAT64, (2,), ("a", "b"))], 3)["x"]
    seen.append(first)
    load_model(PUBLISHED, policy, sums(answer=answer)).close()
    assert 8 in map(len, seen[2:])


def test_a_type_without_runtime_and_an_unpublishing_are_not_loaded(policy):
    _refused(PUBLISHED, policy, {"TENSORFLOW": Sum}, LoadError, "load")
    unpublished = Publication(name="m", data_type="t", operation="WITHDRAW")
    _refused(unpublished, policy, {}, LoadError, "load")


def test_a_scratch_folder_that_is_not_there_is_a_load_error(tmp_path, sums):
    _refused(PUBLISHED, LoadPolicy(scratch=str(tmp_path / "absent")), sums(), LoadError, "fetch")


def test_given_rows_replace_the_generated_ones(scratch, sums):
    seen = []

    def answer(x):
        seen.append(x.tolist())
        return {"sum": x.sum(axis=1)}

    rows = (b'{"a":1,"b":2,"c":"ignored"}', b'{"a":3,"b":4}')
    policy = LoadPolicy(scratch=str(scratch), warm_up_batches=())
    load_model(replace(PUBLISHED, smoke_rows=rows), policy, sums(answer=answer)).close()
    one, two = [1.0, 2.0], [3.0, 4.0]
    three = [one, two, one]
    assert seen[:3] == [[one], [one, two], three]  # the trial
    other = smoke_test.generated((Input("x", DType.FLOAT64, (2,), ("a", "b")),), 1)["x"].tolist()[0]
    company = [one, two, other]  # the third differs, too
    assert seen[3:9] == [company, company, company, [one], [two], [other]]
    assert [len(rows) for rows in seen[9:]] == [13, 3, 16]
    assert seen[11] == [*seen[9], *company]


def test_every_given_row_is_tried(scratch, sums):
    """A model that fails at the last of five rows is refused, although the first four do."""
    rows = tuple(b'{"a":%d,"b":0}' % n for n in (1, 1, 1, 1, -1))
    policy = LoadPolicy(scratch=str(scratch), warm_up_batches=())
    root = sums(answer=lambda x: {"sum": np.sqrt(x[:, 0])})
    with np.errstate(invalid="ignore"):
        published = replace(PUBLISHED, smoke_rows=rows)
        assert "1 of 5 values" in _refused(published, policy, root, SmokeTestError, "trial")
    load_model(replace(PUBLISHED, smoke_rows=rows[:4]), policy, root).close()


NEIGHBOURLY = {
    "mean": lambda x: x[:, 0] - x[:, 0].mean(),
    "running sum": lambda x: np.cumsum(x[:, 0]),
    "reversed": lambda x: x[::-1, 0],
    "first": lambda x: x[:, 0] - x[0, 0],
}


@pytest.mark.parametrize("neighbourly", NEIGHBOURLY)
@pytest.mark.parametrize("smoke", [(), (b'{"a":1,"b":2}',), (b'{"a":1,"b":2}',) * 4])
def test_answers_that_depend_on_any_neighbour_are_refused(policy, sums, neighbourly, smoke):
    """Also where all smoke rows are the same, which hides it, and where the first row is answered as ever."""
    published = replace(PUBLISHED, smoke_rows=smoke)
    root = sums(answer=lambda x: {"sum": NEIGHBOURLY[neighbourly](x)})
    assert "alone than beside others" in _refused(published, policy, root, SmokeTestError, "trial")


CROWDED = {
    "no room": lambda x: np.where(np.arange(len(x)) < 8, x.sum(axis=1), 0.0),
    "many are added up otherwise": lambda x: x.sum(axis=1) + (len(x) > 8),
    "among the first five": lambda x: (x.sum(axis=1) >= np.sort(x.sum(axis=1))[-5:][0]) * 1.0,
}


@pytest.mark.parametrize("crowded", CROWDED)
@pytest.mark.parametrize("smoke", [(), (b'{"a":1,"b":2}', b'{"a":0,"b":0}')])
def test_answers_that_depend_on_more_neighbours_than_two_are_refused(policy, sums, crowded, smoke):
    published = replace(PUBLISHED, smoke_rows=smoke)
    root = sums(answer=lambda x: {"sum": CROWDED[crowded](x)})
    said = "another answer beside 15 others than beside 2, in output 'sum'"
    assert said in _refused(published, policy, root, SmokeTestError, "trial")
    model = load_model(replace(published, batch_dependent=True), policy, root)
    assert [said in note for note in model.load_report.notes] == [True]
    model.close()


def test_texts_that_are_padded_to_the_longest_are_seen(policy, made):
    """Made-up texts are of one word, since many models take no others."""

    class Padded(Sum):
        def __init__(self, *args):
            super().__init__(*args)
            self.inputs = (Input("x", DType.TEXT, (), ("a",)),)

        def predict(self, columns):
            words = np.array([len(text.split()) for text in columns["x"]])
            return {"sum": words / words.max()}

    class OfOneWord(Padded):
        def predict(self, columns):
            if any(" " in text for text in columns["x"]):
                raise PredictError("no number")
            return {"sum": columns["x"].astype(float)}

    runtimes = {"PMML": lambda a, w: made.append(Padded(a, w)) or made[-1]}
    assert "beside 15 others" in _refused(PUBLISHED, policy, runtimes, SmokeTestError, "trial")
    load_model(PUBLISHED, policy, {"PMML": OfOneWord}).close()


def test_a_model_that_is_given_few_records_at_once_is_asked_about_no_crowd(policy, sums, made):
    policy = replace(policy, warm_up=Budget(seconds=0))
    model = load_model(PUBLISHED, policy, sums(refuses_above=3))
    assert model.load_report.rows == 1
    model.close()


def test_whole_numbers_of_which_the_first_is_the_largest_hide_no_neighbours(policy, made):
    class Share(Sum):
        def __init__(self, *args):
            super().__init__(*args)
            self.inputs = (Input("x", DType.INT64, (), ("a",)),)

        def predict(self, columns):
            return {"sum": columns["x"] / max(columns["x"].max(), 1) - columns["x"].max()}

    runtimes = {"PMML": lambda a, w: made.append(Share(a, w)) or made[-1]}
    assert "alone than beside" in _refused(PUBLISHED, policy, runtimes, SmokeTestError, "trial")


def test_made_up_rows_beside_smoke_rows_are_left_out_where_they_are_not_scored(scratch, sums):
    """A good model that takes 7 only: whether it looks at neighbours cannot be seen, which is told."""

    def answer(x):
        if (x != 7).any():
            raise PredictError("only 7")
        return {"sum": x.sum(axis=1)}

    policy = LoadPolicy(scratch=str(scratch), warm_up_batches=())
    seven = replace(PUBLISHED, smoke_rows=(b'{"a":7,"b":7}',))
    model = load_model(seven, policy, sums(answer=answer))
    assert ["all smoke rows are the same" in note for note in model.load_report.notes] == [True]
    model.close()


def test_sums_that_differ_in_the_last_bits_are_the_same_answer(policy, sums):
    """As matrices of one row and of three are multiplied by other kernels."""
    root = sums(answer=lambda x: {"sum": (x.sum(axis=1) * (1 + 1e-5 * len(x))).astype(np.float32)})
    model = load_model(PUBLISHED, policy, root)
    assert model.load_report.notes == []
    model.close()


@pytest.mark.parametrize(
    ("row", "word"),
    [(b'{"a":1}', "field 'b' is missing"), (b'{"a":1,"b":"x"}', "'b' holds text"), (b"[]", "no JSON object")],
)
def test_given_rows_that_do_not_fit_are_named(scratch, sums, row, word):
    policy = LoadPolicy(scratch=str(scratch))
    published = replace(PUBLISHED, smoke_rows=(b'{"a":1,"b":2}', row))
    reason = _refused(published, policy, sums(), SmokeTestError, "trial")
    assert "smoke row 2 of 2" in reason and word in reason


def test_a_runtime_s_ranges_bound_the_generated_rows(policy, made):
    """`sqrt(a - 1)` is not finite for numbers in [0, 1): with the declared range the model is served."""

    class Root(Sum):
        ranges: ClassVar = {"x": (1.0, 5.0)}

        def predict(self, columns):
            return {"sum": np.sqrt(columns["x"][:, 0] - 1)}

    def load(kind):
        return {"PMML": lambda a, w: made.append(kind(a, w)) or made[-1]}

    load_model(PUBLISHED, policy, load(Root)).close()
    Root.ranges = {}
    with np.errstate(invalid="ignore"), pytest.raises(SmokeTestError, match="not finite"):
        load_model(PUBLISHED, policy, load(Root))


@pytest.mark.parametrize("dtype", [d for d in DType if d not in (DType.TEXT, DType.BOOL)])
@pytest.mark.parametrize("bounds", [(3, 7), (-5, -5), (100, None), (None, -100), (None, None), (-1e9, 1e9)])
def test_generated_numbers_are_within_their_bounds(dtype, bounds):
    low, high = bounds
    values = smoke_test.generated([Input("x", dtype, (2,), ("a",))], 500, None, {"x": bounds})["x"]
    assert values.dtype == dtype.numpy and values.shape == (500, 2)
    assert low is None or (values >= low).all()
    assert high is None or (values <= high).all()
    if low != high:
        assert len(np.unique(values)) > 1


def test_a_runtime_s_own_values_replace_the_generated_ones(policy, made):
    class Coloured(Sum):
        def __init__(self, artifact, wanted):
            super().__init__(artifact, wanted)
            self.inputs = (Input("x", DType.TEXT, (), ("colour",)),)

        def sample(self, count):
            return {"x": np.array([["red", "green"][k % 2] for k in range(count)], object)}

        def predict(self, columns):
            self.batches += columns["x"].tolist()
            return {"sum": np.zeros(len(columns["x"]))}

    anything = replace(policy, fields=())
    model = load_model(PUBLISHED, anything, {"PMML": lambda a, w: made.append(Coloured(a, w)) or made[-1]})
    assert set(made[0].batches) == {"red", "green"}
    model.close()


@pytest.mark.parametrize("dtype", list(DType))
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_generated_rows_are_the_same_every_time(dtype, shape):
    inputs = [Input("x", dtype, shape, ("a",))]
    rows = smoke_test.generated(inputs, 3)["x"]
    assert rows.shape == (3, *shape)
    assert rows.dtype == dtype.numpy
    assert (rows == smoke_test.generated(inputs, 3)["x"]).all()
    assert (rows[:1] == smoke_test.generated(inputs, 1)["x"]).all()


def test_a_model_that_reads_what_records_do_not_have_is_refused(policy, made):
    narrow = replace(policy, fields=("a",))
    with pytest.raises(InputsError, match="reads b, which the records"):
        load_model(PUBLISHED, narrow, {"PMML": lambda a, w: made.append(Sum(a, w)) or made[-1]})
    assert made[-1].closed


@pytest.mark.parametrize(
    ("name", "says"), [("y" * 201, "of 201 characters; 200"), ("y\x1b[2J", "that are not printed")]
)
def test_a_model_s_own_names_of_outputs_are_such_as_results_can_hold(policy, scratch, name, says):
    class Named(Sum):
        def __init__(self, artifact, wanted):
            super().__init__(artifact, wanted, answer=lambda x: {name: x.sum(axis=1)})
            self.outputs = (Output(name, DType.FLOAT64),)

    with pytest.raises(LoadError, match=f"the model has the output .*{says}.*in the descriptor"):
        load_model(PUBLISHED, policy, {"PMML": Named})
    assert list(scratch.iterdir()) == []
