"""The data scientist's side of this demo: tells the story, registers views, trains and publishes the model,
and computes for the judge what should have come out. A process of its own: see `demo.workbench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.house.plan import DATA_TYPE, DAY_MS, DECLARATIONS, INPUTS, MODEL, TARGET, TEST, TRAIN, Folders
from demo.workbench import answer_requests, answers_of, command


def prepare(*, root: str, seed: int, sales: int, requests: int) -> bool:
    """The story, and a registry that knows the views and what the model reads."""
    from demo.house.story import tell  # noqa: PLC0415

    folders = Folders(Path(root))
    tell(folders.story, seed, sales, requests)
    at = ["--registry", folders.registry]
    command(arguments=["features", "apply", str(DECLARATIONS), *at])
    pairs = [part for name, feature in INPUTS.items() for part in ("--input", f"{name}={feature}")]
    command(arguments=["features", "model", MODEL, *pairs, "--data-type", DATA_TYPE, *at])
    return True


def train_and_publish(*, root: str) -> dict[str, Any]:
    """Fit a linear model to the training part of the training set, publish it, and say how well it does
    offline: `mae` and `r2` on the test part, and by its rows the `features` that it was given and `scores`.
    """
    import pyarrow.compute as pc  # noqa: PLC0415
    from sklearn.linear_model import LinearRegression  # noqa: PLC0415
    from sklearn.metrics import mean_absolute_error, r2_score  # noqa: PLC0415

    from millrace.export_pmml import linear_regression  # noqa: PLC0415

    folders = Folders(Path(root))
    table = _training_set(folders.training_set)
    differing = _differing(folders, table)
    part = {name: table.filter(pc.equal(table.column("part"), name)) for name in (TRAIN, TEST)}
    (x, y), (asked, truth) = (_matrix(of) for of in (part[TRAIN].drop_null(), part[TEST]))
    model = LinearRegression().fit(x, y)
    file = folders.training / f"{MODEL}.pmml"
    file.write_text(linear_regression(model.coef_, float(model.intercept_), [*INPUTS], TARGET))
    offline = model.predict(asked)
    mae, r2 = float(mean_absolute_error(truth, offline)), float(r2_score(truth, offline))
    about = f"linear, {len(x):,} sales"
    options = ["--name", MODEL, "--version", "1", "--description", about, "--metric", f"mae={mae}"]
    options += ["--data-type", DATA_TYPE, "--to-folder", str(folders.models)]
    command(arguments=["publish", str(file), *options])
    rows = part[TEST].column("row").to_pylist()
    return {
        "examples": len(x),
        "differing": differing,
        "mae": mae,
        "r2": r2,
        "truth": dict(zip(map(str, rows), truth.tolist(), strict=True)),
        "scores": dict(zip(map(str, rows), offline.tolist(), strict=True)),
        "features": dict(zip(map(str, rows), asked.tolist(), strict=True)),
    }


def score(*, root: str) -> dict[str, Any]:
    """The published model's answer to each assembled request, by id, from the very bytes."""
    import orjson  # noqa: PLC0415

    from demo.watch import NewLines  # noqa: PLC0415
    from udfs.models.descriptor import parse  # noqa: PLC0415

    folders = Folders(Path(root))
    [published] = folders.models.glob("*.model")
    lines = [line for line, _ in NewLines(folders.requests).of("assembled")]
    answers = answers_of(parse(published.read_bytes()), lines)
    ids = [orjson.loads(line)["id"] for line in lines]
    return {"digest": answers["digest"], "scores": dict(zip(ids, answers["scores"], strict=True))}


def _training_set(folder: Path) -> Any:
    import pyarrow.dataset as ds  # noqa: PLC0415

    from udfs.io.folder_files import visible_files  # noqa: PLC0415

    table = ds.dataset([str(file) for file in visible_files(folder)], format="parquet").to_table()
    return table.sort_by("row")


def _matrix(table: Any) -> tuple[NDArray, NDArray]:
    """`(n, len(INPUTS))` and `(n,)`."""
    columns = [table.column(name).to_numpy().astype(np.float64) for name in INPUTS]
    return np.stack(columns, axis=1), table.column(TARGET).to_numpy()


def _differing(folders: Folders, table: Any) -> int:
    """How many rows do not have what the reported sales say was known at their time: computed here from the
    sales one by one, by another way than the jobs'."""
    import orjson  # noqa: PLC0415

    sales: dict[str, dict[str, tuple[int, float]]] = {}
    for file in (folders.story / "sales").iterdir():
        for line in file.read_bytes().splitlines():
            one = orjson.loads(line)
            sales.setdefault(one["district"], {})[one["sale"]] = one["at"], one["price"] / one["area"]
    of = {name: np.array(sorted(found.values())) for name, found in sales.items()}
    asked = table.column("event_timestamp").to_numpy().astype("datetime64[ms]").astype(np.int64)
    found = zip(
        table.column("district").to_pylist(),
        asked.tolist(),
        table.column("sold_14d").to_pylist(),
        table.column("mean_m2_14d").to_pylist(),
        strict=True,
    )
    differing = 0
    for district, at, sold, mean in found:
        times, prices = of[district].T
        until = int(np.searchsorted(times, at, "right"))
        begin = (times[until - 1] - 14 * DAY_MS) // DAY_MS * DAY_MS
        since = int(np.searchsorted(times, begin, "left"))
        same = sold == until - since and np.isclose(mean, prices[since:until].mean(), rtol=1e-9, atol=0)
        differing += not same
    return differing


if __name__ == "__main__":
    answer_requests((prepare, train_and_publish, score))
