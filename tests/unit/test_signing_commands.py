"""`millrace keygen`, `--sign` and `verify`, and what they have in common with the package `model-signing`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millrace.cli import app
from schemas.model_pb2 import ModelDescriptor
from tests.model_signing import model_signing
from udfs.models.descriptor import build, parse
from udfs.models.signing.counters import CountersInMemory
from udfs.models.signing.gate import SignatureGate, SigningSpec
from udfs.models.signing.signer import DescriptorSigner, read_private_key

PMML = (
    '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary>'
    '<DataField name="x" optype="continuous" dataType="double"/>'
    '<DataField name="y" optype="continuous" dataType="double"/></DataDictionary>'
    '<RegressionModel functionName="regression"><MiningSchema><MiningField name="x"/>'
    '<MiningField name="y" usageType="target"/></MiningSchema>'
    '<RegressionTable intercept="1"><NumericPredictor name="x" coefficient="2"/></RegressionTable>'
    "</RegressionModel></PMML>"
)


def run(*arguments: object, code: int = 0, env: dict[str, str] | None = None) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments], env=env)
    assert done.exit_code == code, done.output
    return done.output


class Place:
    """A key `release`, its file of keys, and a model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        made = run("keygen", "release", "--folder", folder, "--may", "publish", "--may", "decide")
        self.key, self.public, self.keys = (
            folder / n for n in ("release.pem", "release.pub.pem", "keys.toml")
        )
        self.keys.write_text(made)
        self.model = folder / "model.pmml"
        self.model.write_text(PMML)

    def published(self, *arguments: object) -> Path:
        stream = self.folder / "stream"
        run("publish", self.model, "--data-type", "t", "--to-folder", stream, *arguments)
        return max(stream.iterdir())

    def signed(self, *arguments: object) -> Path:
        return self.published("--sign", self.key, "--audience", "prod", *arguments)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_key_is_for_its_owner_alone_and_never_written_over(place: Place) -> None:
    assert place.key.stat().st_mode & 0o777 == 0o600
    said = tomllib.loads(place.keys.read_text())["keys"]["release"]
    assert said["may"] == ["publish", "decide"] and said["data_types"] == ["*"]
    assert said["public"] == place.public.read_text()
    before = place.key.read_bytes()
    assert "File exists" in run("keygen", "release", "--folder", place.folder, code=1)
    assert place.key.read_bytes() == before


def test_a_signed_model_is_verified_and_let_in(place: Place) -> None:
    descriptor = place.signed()
    said = run("verify", descriptor, "--keys", place.keys)
    assert "Signed by release." in said and "To SERVE: 't', 't' version" in said and "For: prod" in said
    gate = SignatureGate(SigningSpec(True, str(place.keys), "prod"))
    admitted = gate.admit(descriptor.read_bytes(), CountersInMemory())
    assert isinstance(admitted, bytes) and parse(admitted).signer == "release"


def test_what_was_changed_or_never_signed_is_told(place: Place) -> None:
    message = ModelDescriptor.FromString(place.signed().read_bytes())
    message.data = message.data.replace(b'intercept="1"', b'intercept="9"')
    changed = place.folder / "changed"
    changed.write_bytes(message.SerializeToString())
    assert "tampered: the digest is not what was signed" in run(
        "verify", changed, "--keys", place.keys, code=1
    ).replace("\n", " ")
    assert "unsigned" in run("verify", place.published(), "--keys", place.keys, code=1)
    assert "is no descriptor" in run("verify", place.model, "--keys", place.keys, code=1)


@pytest.mark.parametrize("days", ["inf", "1e300", "36501"])
def test_a_signature_for_longer_than_jobs_read_is_refused_in_a_sentence(place: Place, days: str) -> None:
    by = ("--to-folder", place.folder / "stream", "--sign", place.key, "--audience", "prod")
    said = run("unpublish", "t", *by, "--valid-days", days, code=2)
    assert "--valid-days is at most 36,500" in " ".join(said.split())


def test_a_signature_without_an_end_is_verified(place: Place) -> None:
    """As another program may make one: no calendar has that time."""
    signer = DescriptorSigner(read_private_key(place.key), ("prod",), 2**62)
    path = place.folder / "forever"
    path.write_bytes(signer.sign(build(data_type="t", name="m", version=1, data=b"<PMML/>")))
    assert "valid until 1461" in run("verify", path, "--keys", place.keys)


def test_plans_and_unpublishings_are_signed_by_the_same_options(place: Place) -> None:
    plan = place.folder / "plan.json"
    plan.write_text('{"deadline_ms": 50}')
    stream = place.folder / "plans"
    by = ("--to-folder", stream, "--sign", place.key, "--audience", "prod")
    run("plan", plan, "--data-type", "t", *by)
    assert "To DECIDE" in run("verify", max(stream.iterdir()), "--keys", place.keys)
    run("unpublish", "t", *by)
    assert "may publish, decide, and this is to unpublish" in " ".join(
        run("verify", max(stream.iterdir()), "--keys", place.keys, code=1).split()
    )


def test_a_signature_needs_an_audience_and_an_audience_a_signature(place: Place) -> None:
    common = ("publish", place.model, "--data-type", "t", "--to-folder", place.folder / "stream")
    assert "--sign needs --audience" in run(*common, "--sign", place.key, code=2)
    assert "give --sign too" in run(*common, "--audience", "prod", code=2)
    assert not (place.folder / "stream").exists()


def test_a_key_with_a_password_comes_by_the_environment(tmp_path: Path) -> None:
    secret = {"MILLRACE_SIGNING_PASSWORD": "planted-password"}
    (tmp_path / "keys.toml").write_text(run("keygen", "release", "--folder", tmp_path, env=secret))
    (tmp_path / "m.pmml").write_text(PMML)
    publish = (
        "publish", tmp_path / "m.pmml", "--data-type", "t", "--to-folder", tmp_path / "s",
        "--sign", tmp_path / "release.pem", "--audience", "prod",
    )  # fmt: skip
    run(*publish, env=secret)
    failed = run(*publish, code=1, env={"MILLRACE_SIGNING_PASSWORD": "planted-other"})
    assert "another password" in failed and "planted" not in failed


def test_our_signature_is_verified_by_model_signing(place: Place) -> None:
    bundle = place.folder / "model.sig"
    place.signed("--save-signature", bundle)
    by = ("--public_key", place.public, "--signature", bundle)
    done = model_signing("verify", "key", place.model, *by)
    assert "Verification succeeded" in done.stdout, done.stderr
    place.model.write_text(PMML.replace('"1"', '"9"'))
    assert model_signing("verify", "key", place.model, *by).returncode == 1


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_signature_by_model_signing_is_verified_by_us(place: Place, kind: str) -> None:
    folder, bundle = place.folder / "model", place.folder / "model.sig"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"weights")
    model, inner = (folder, folder / "variables" / "data") if kind == "folder" else (place.model, place.model)
    done = model_signing("sign", "key", model, "--private_key", place.key, "--signature", bundle)
    assert done.returncode == 0, done.stderr
    verify = ("verify", model, "--signature", bundle, "--keys", place.keys)
    said = run(*verify)
    assert "Signed by release" in said and "a job does not take it as it is" in said
    inner.write_bytes(b"other")
    assert "is not what was signed" in " ".join(run(*verify, code=1).split())
    if kind == "folder":
        inner.unlink()
        assert "variables/data is missing" in " ".join(run(*verify, code=1).split())
        inner.write_bytes(b"weights")
        (folder / "more").write_bytes(b"")
        assert "more was not signed" in " ".join(run(*verify, code=1).split())
