"""Models of an MLflow registry: `models:/NAME/VERSION` and `models:/NAME@ALIAS`, by its REST interface.

Nothing of MLflow is installed for it. Where the server does not hand artifacts out itself, they must be in a
bucket or folder that is reached from here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from schemas.errors import RefusedError, SettingsError, SourceError
from udfs.io import s3
from udfs.io.limits import Limits, Meter
from udfs.io.s3 import S3Options

SCHEME = "models:/"
TAG_PREFIX = "millrace."
"""Of the tags that are written back."""
Metrics = Mapping[tuple[str, str], float]
"""(name, data set) -> value; the data set is empty where none was named."""
_URI = re.compile(r"models:/([^/@]+)(?:/(\d+)|@([^/@]+))")
_LOGGED = re.compile(r"models:/(m-[^/@]+)")
_COPIES = 8
"""Of copies of versions, one after the other, so many are followed."""
_FLAVOURS = {
    "onnx": ("data",),
    "keras": ("data",),
    "tensorflow": ("saved_model_dir", "data"),
    "xgboost": ("data",),
    "lightgbm": ("data",),
    "sklearn": ("pickled_model",),
}
"""By preference, with the keys of MLmodel that name the file or folder."""
_SECONDS = 60
_PART = 1 << 20


@dataclass(frozen=True, slots=True)
class MlflowModel:
    """A version as its server knows it.

    `metrics` are those of its logged model, where it has one, and those of its run that no other model of the
    run has. `tags` are its run's and the version's own, without MLflow's (`mlflow.`) and ours. `artifacts`:
    where its files are.
    """

    name: str
    version: int
    description: str
    run: str
    metrics: Metrics
    tags: Mapping[str, str]
    artifacts: str


class _Measured(NamedTuple):
    """A value of a metric. The latest one is, as for MLflow itself, that of the last step."""

    step: int
    timestamp: int
    name: str
    value: float
    dataset: str


class Mlflow:
    """The tracking server at `url`.

    The environment says who asks, as for MLflow's own client: MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD, else MLFLOW_TRACKING_TOKEN.

    Methods raise `SourceError` where the server is away, and its `RefusedError` where it refuses.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"{url!r} is no http:// or https:// URL of an MLflow server: give --mlflow")
        if "@" in url.split("//", 1)[1].split("/", 1)[0]:  # none of these works, and errors would print it
            raise SettingsError(
                "the URL of the MLflow server holds who asks: leave that out, and set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        self._url = url.rstrip("/")

    def model(self, uri: str) -> MlflowModel:
        """Of `models:/NAME/VERSION` or `models:/NAME@ALIAS`. Raises `SettingsError` for anything else."""
        found = _URI.fullmatch(uri)
        if found is None:
            raise SettingsError(f"{uri!r} is neither models:/NAME/VERSION nor models:/NAME@ALIAS")
        name, version, alias = found.groups()
        if alias:
            known = self._get("registered-models/alias", "model_version", name=name, alias=alias)
        else:
            known = self._get("model-versions/get", "model_version", name=name, version=version)
        which = {"name": name, "version": known["version"]}
        logged = self._logged_model(known)
        own, others, of_run, tags = self._measured(logged), [], {}, {}
        if run := known.get("run_id", ""):
            told = self._get("runs/get", "run", run_id=run)
            tags = _tags(told["data"].get("tags", ()))
            of_run = {one["key"]: float(one["value"]) for one in told["data"].get("metrics", ())}
            others = self._measured_of_run(told, logged)
        return MlflowModel(
            name=name,
            version=int(known["version"]),
            description=known.get("description", ""),
            run=run,
            metrics=_metrics(own, others, of_run),
            tags=tags | _tags(known.get("tags", ())),
            artifacts=self._get("model-versions/get-download-uri", "artifact_uri", **which),
        )

    def download(self, model: MlflowModel, into: Path, options: S3Options, limits: Limits) -> Path:
        """The folder with the version's files. Raises `FetchError` for more than the limits allow."""
        where = model.artifacts
        if where.startswith("s3://"):
            return s3.download(where, into, options, limits)
        if where.startswith("mlflow-artifacts:"):
            root = re.sub(r"^mlflow-artifacts:(//[^/]*)?/*", "", where)
            self._folder(root, into, Meter(limits, f"{model.name} version {model.version}"))
            return into
        raise SourceError(
            f"the files of {model.name} version {model.version} are at {where}, which is not opened here: "
            "start the server with --serve-artifacts, or have them in an s3:// bucket"
        )

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let the alias stand for this version."""
        said = {"name": name, "alias": alias, "version": str(version)}
        self._ask("/api/2.0/mlflow/registered-models/alias", json.dumps(said).encode())

    def remove_alias(self, name: str, alias: str) -> None:
        """Let the alias stand for no version."""
        said = json.dumps({"name": name, "alias": alias}).encode()
        self._ask("/api/2.0/mlflow/registered-models/alias", said, "DELETE")

    def aliases(self, name: str) -> dict[str, int]:
        """The aliases of a model, with their versions."""
        known = self._get("registered-models/get", "registered_model", name=name)
        return {one["alias"]: int(one["version"]) for one in known.get("aliases", ())}

    def run_and_tags(self, name: str, version: int) -> tuple[str, dict[str, str]]:
        """The run of a version, empty where it is of none, and all tags of the version itself."""
        known = self._get("model-versions/get", "model_version", name=name, version=str(version))
        return known.get("run_id") or "", {one["key"]: one["value"] for one in known.get("tags", ())}

    def set_version_tag(self, name: str, version: int, key: str, value: str) -> None:
        """Set a tag of a version. MLflow takes keys of 250 characters and, before its 3, values of 5,000."""
        said = {"name": name, "version": str(version), "key": key, "value": value}
        self._ask("/api/2.0/mlflow/model-versions/set-tag", json.dumps(said).encode())

    def _logged_model(self, version: Mapping[str, Any]) -> str:
        """The id of the model that a version was registered from, empty before MLflow 3."""
        for _ in range(_COPIES):
            source = str(version.get("source", ""))
            if version.get("model_id"):
                return str(version["model_id"])
            if logged := _LOGGED.fullmatch(source):
                return logged[1]
            copied = _URI.fullmatch(source)
            if copied is None or not copied[2]:
                return ""
            try:
                which = {"name": copied[1], "version": copied[2]}
                version = self._get("model-versions/get", "model_version", **which)
            except RefusedError:  # it may be gone
                return ""
        return ""

    def _measured(self, logged: str) -> list[_Measured]:
        """What was measured of a logged model."""
        if not logged:
            return []
        try:
            return _listed(self._get(f"logged-models/{quote(logged, safe='')}", "model"))
        except RefusedError as e:
            if e.status != HTTPStatus.NOT_FOUND:
                raise
            return []  # it was deleted, which leaves its versions

    def _measured_of_run(self, run: Mapping[str, Any], but: str) -> list[_Measured]:
        """What was measured of the logged models of a run but one."""
        found: list[_Measured] = []
        if not run.get("outputs", {}).get("model_outputs"):
            return found
        told = run["info"]
        asked = {"experiment_ids": [told["experiment_id"]], "filter": f"source_run_id = '{told['run_id']}'"}
        while True:
            answer = self._told("/api/2.0/mlflow/logged-models/search", json.dumps(asked).encode())
            for model in answer.get("models", ()):
                found += _listed(model) if model["info"]["model_id"] != but else []
            if not answer.get("next_page_token"):
                return found
            asked["page_token"] = answer["next_page_token"]

    def _folder(self, path: str, into: Path, meter: Meter) -> None:
        into.mkdir(parents=True, exist_ok=True)
        listed = self._told("/api/2.0/mlflow-artifacts/artifacts?" + urlencode({"path": path}))
        for entry in listed.get("files", ()):
            name = PurePosixPath(entry["path"]).name
            if name != entry["path"] or name in ("", ".", ".."):
                raise SourceError(f"the server lists {entry['path']!r}, which is no name of a file")
            if entry.get("is_dir"):
                self._folder(f"{path}/{name}", into / name, meter)
                continue
            meter.file()
            source = self._open("/api/2.0/mlflow-artifacts/artifacts/" + quote(f"{path}/{name}"))
            with source, (into / name).open("wb") as target:
                while part := self._part(source):
                    meter.bytes(len(part))
                    target.write(part)

    def _part(self, source: Any) -> bytes:
        """The next part of an answer that has begun; nothing at its end."""
        with self._reached():
            part = bytes(source.read(_PART))
        # what is cut off reads as if it had ended
        if not part and (lacks := getattr(source, "length", None)):
            raise SourceError(f"MLflow at {self._url} has sent {lacks} bytes too few of a file")
        return part

    def _get(self, what: str, wanted: str, **arguments: str) -> Any:
        answer = self._told(f"/api/2.0/mlflow/{what}?{urlencode(arguments)}")
        if wanted not in answer:
            raise self._is_none(json.dumps(answer))
        return answer[wanted]

    def _told(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        answer = self._ask(path, body)
        try:
            return dict(json.loads(answer))
        except (ValueError, TypeError):
            raise self._is_none(answer.decode(errors="replace")) from None

    def _is_none(self, answer: str) -> SourceError:
        return SourceError(f"{self._url} answers as no MLflow server does: {answer[:60]!r}: see --mlflow")

    def _ask(self, path: str, body: bytes | None = None, method: str | None = None) -> bytes:
        with self._reached(), self._open(path, body, method) as answer:
            return bytes(answer.read())

    def _open(self, path: str, body: bytes | None = None, method: str | None = None) -> Any:
        headers = ({"Content-Type": "application/json"} if body else {}) | _authorization()
        request = Request(self._url + path, body, headers, method=method)  # noqa: S310  (checked above)
        with self._reached():
            try:
                return urlopen(request, timeout=_SECONDS)  # noqa: S310
            except HTTPError as e:
                said, code = e.read(1 << 16).decode(errors="replace"), ""
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    known = json.loads(said)
                    said, code = known["message"], known.get("error_code", "")
                raise RefusedError(
                    f"MLflow at {self._url} refuses with {e.code}: {str(said)[:2000]}", e.code, code
                ) from None

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Also of an answer that has begun, and of what is no HTTP."""
        try:
            yield
        except (OSError, HTTPException) as e:
            raise SourceError(f"MLflow at {self._url} cannot be reached: {e}") from None


def model_in(folder: Path) -> Path:
    """The model's own file or folder, by the flavours that MLmodel names. Raises `SourceError`."""
    try:
        flavours = _flavours((folder / "MLmodel").read_text())
    except (OSError, UnicodeDecodeError) as e:
        raise SourceError(f"the model's files have no MLmodel that can be read: {e}") from None
    for name, keys in _FLAVOURS.items():
        for key in keys:
            said = flavours.get(name, {}).get(key, "")
            path = (folder / said).resolve()
            if said and path.is_relative_to(folder.resolve()) and path.exists():
                return _inner(path)
    raise SourceError(
        f"the model has the flavours {', '.join(flavours) or 'none'}; read are {', '.join(_FLAVOURS)}"
    )


def _inner(path: Path) -> Path:
    """Keras models lie in a folder `data`, beside what says how they are read."""
    models = [] if path.is_file() or (path / "saved_model.pb").exists() else sorted(path.glob("model*"))
    return models[0] if len(models) == 1 else path


def _flavours(text: str) -> dict[str, dict[str, str]]:
    """Flavour -> its texts, of a file that MLflow writes: YAML with two spaces a level."""
    found: dict[str, dict[str, str]] = {}
    inside = False
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip(" "))
        key, _, value = line.strip().partition(":")
        if depth == 0:
            inside = key == "flavors"
        elif inside and depth == 2:
            found[key] = {}
        elif inside and depth == 4 and found:
            found[list(found)[-1]][key] = value.strip().strip("'\"")
    return found


def _listed(logged: Mapping[str, Any]) -> list[_Measured]:
    return [
        _Measured(
            int(one.get("step", 0)),
            int(one.get("timestamp", 0)),
            one["key"],
            float(one["value"]),
            one.get("dataset_name", ""),
        )
        for one in logged.get("data", {}).get("metrics", ())
    ]


def _metrics(own: list[_Measured], others: list[_Measured], run: Mapping[str, float]) -> Metrics:
    """What is a version's of what was measured of its logged model, of others of its run, and by the run.

    A run has one value a metric, whosever is newest, and does not say of which model: so what any of its
    models has is none of the run. For the same reason MLflow writes values of earlier models of a run to
    those that are logged later, without the data set; these are left out.
    """
    copied = {one._replace(dataset="") for one in others if one.dataset}
    newest = {(one.name, one.dataset): one.value for one in sorted(own) if one not in copied}
    taken = {one.name for one in (*own, *others)}
    of_run = {(name, ""): value for name, value in run.items() if name not in taken}
    return {name: newest[name] for name in sorted(newest)} | of_run


def _tags(listed: Any) -> dict[str, str]:
    """What people wrote: what MLflow adds is no news, and what is written back there came from here."""
    return {one["key"]: one["value"] for one in listed if not one["key"].startswith(("mlflow.", TAG_PREFIX))}


def _authorization() -> dict[str, str]:
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    if user and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
    return {"Authorization": f"Bearer {token}"} if token else {}
