"""Signatures of publications: what is let in, and that everything else is refused for its own reason."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SettingsError
from schemas.model_pb2 import ModelDescriptor
from schemas.results.records import EventKind, ModelEvent
from tests.signing_keys import ALL_RIGHTS, KEY, OTHER, entry, keys_file, signer
from udfs.models.composite.nodes import MEAN, Graph, Node, OutputRef
from udfs.models.descriptor import DECIDE, WITHDRAW, build, parse
from udfs.models.runtimes.base import PartialInput
from udfs.models.signing.bundle import signed_bytes, write_bundle
from udfs.models.signing.counters import CountersInMemory
from udfs.models.signing.covered import descriptor_digest
from udfs.models.signing.faults import SignatureError, SignatureFault
from udfs.models.signing.gate import SignatureGate, SigningSpec
from udfs.models.signing.keys import RIGHTS, KeysFile, fingerprint
from udfs.models.signing.signer import new_key, read_private_key

NOW = 1_764_339_000_000
MODEL = build(data_type="wine", name="forest", model_type="PMML", version=3, data=b"<PMML/>", created_ms=1)


def at(ms: int) -> Any:
    return lambda: ms * 1_000_000


def signed(descriptor: bytes = MODEL, ms: int = NOW, **more: Any) -> bytes:
    return signer(**{"now": at(ms)} | more).sign(descriptor)


class Harness:
    """A gate that wants signatures by KEY, for any data type and with all rights unless told otherwise."""

    def __init__(self, folder: Path, *entries: str, **more: Any) -> None:
        self.path = keys_file(folder, *(entries or [entry("release", KEY)]))
        spec = SigningSpec(**{"require": True, "keys": str(self.path), "audience": "prod"} | more)
        self.now = NOW
        self.gate = SignatureGate(spec, lambda: self.now)
        self.counters = CountersInMemory()

    def admit(self, descriptor: bytes) -> bytes | ModelEvent:
        return self.gate.admit(descriptor, self.counters)

    def refused(self, descriptor: bytes) -> str:
        event = self.admit(descriptor)
        assert isinstance(event, ModelEvent), "it was let in"
        assert (event.kind, event.step, event.signer) == (EventKind.REFUSED, "signature", "")
        return event.reason


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def changed(descriptor: bytes, **fields: Any) -> bytes:
    message = ModelDescriptor.FromString(descriptor)
    for name, value in fields.items():
        setattr(message, name, value)
    return message.SerializeToString()


def test_what_is_signed_comes_in_with_the_name_of_its_key_and_without_the_signature(harness: Harness) -> None:
    admitted = harness.admit(signed())
    assert isinstance(admitted, bytes)
    published = parse(admitted)
    assert (published.name, published.version, published.data) == ("forest", 3, b"<PMML/>")
    assert published.signer == "release"
    assert ModelDescriptor.FromString(admitted).bundle == b""


def test_each_fault_has_its_own_reason(harness: Harness) -> None:
    assert harness.refused(MODEL).startswith("unsigned: ")
    assert harness.refused(changed(signed(), data=b"<PMML />")).startswith("tampered: the digest")
    assert harness.refused(signed(key=OTHER)).startswith("foreign key: ")
    assert harness.refused(signed(valid_ms=1, ms=NOW - 1)).startswith("expired: ")
    assert harness.refused(signed(audience=("test",))).startswith("wrong audience: it is signed for test")
    assert harness.refused(signed(ms=NOW + 300_001)).startswith("not valid yet: ")
    assert harness.refused(changed(MODEL, bundle=b"{}")).startswith("unreadable signature: ")
    once = signed()
    assert isinstance(harness.admit(once), bytes)
    assert harness.refused(once).startswith("replayed: ")
    assert set(harness.counters) and len(harness.counters) == 1, "what is refused counts nowhere"


EVERY_FIELD = {
    "name": "other",
    "description": "other",
    "dataType": "other",
    "modeltype": ModelDescriptor.ONNX,
    "data": b"other",
    "version": 9,
    "created_ms": 9,
    "sha256": "0" * 64,
    "size": 9,
    "operation": WITHDRAW,
    "signature": "other",
    "force": True,
    "plan": "{}",
    "batch_dependent": True,
}


@pytest.mark.parametrize("name", EVERY_FIELD)
def test_no_field_can_be_changed(harness: Harness, name: str) -> None:
    value = EVERY_FIELD[name]
    value = ModelDescriptor.Operation.Value(value) if name == "operation" else value
    assert harness.refused(changed(signed(), **{name: value})).startswith("tampered: ")


def test_inputs_smoke_rows_and_metrics_cannot_be_changed_either(harness: Harness) -> None:
    message = ModelDescriptor.FromString(signed())
    message.inputs.add(name="x", fields=["salary"])
    assert "the descriptor is not" in harness.refused(message.SerializeToString())
    message = ModelDescriptor.FromString(signed())
    message.metrics["auc"] = 1.0
    assert "the descriptor is not" in harness.refused(message.SerializeToString())
    message = ModelDescriptor.FromString(signed())
    message.smoke_rows.append(b"{}")
    assert "the descriptor is not" in harness.refused(message.SerializeToString())
    # a field that this release does not know is in what is signed too
    assert "the descriptor is not" in harness.refused(signed() + b"\xda\x3f\x01x")


@given(st.integers(0), st.integers(1, 255))
def test_no_byte_of_the_signature_can_be_changed(release: SigningSpec, where: int, flip: int) -> None:
    """Whatever byte: it is refused, or what was signed is the same."""
    message = ModelDescriptor.FromString(SIGNED)
    bundle = bytearray(message.bundle)
    bundle[where % len(bundle)] ^= flip
    message.bundle = bytes(bundle)
    admitted = SignatureGate(release, lambda: NOW).admit(message.SerializeToString(), CountersInMemory())
    if isinstance(admitted, bytes):  # the key id and the media type's version are not signed, by DSSE
        assert parse(admitted).data == b"<PMML/>" and parse(admitted).signer == "release"
    else:
        assert admitted.step == "signature"


SIGNED = signed()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> SigningSpec:
    return SigningSpec(True, str(keys_file(tmp_path_factory.mktemp("keys"), entry("release", KEY))), "prod")


def test_a_signature_of_another_publication_does_not_fit(harness: Harness) -> None:
    other = build(data_type="wine", name="forest", model_type="PMML", version=4, data=b"<PMML/>")
    bundle = ModelDescriptor.FromString(signed()).bundle
    assert harness.refused(changed(other, bundle=bundle)) == "tampered: the version is not what was signed"


def test_a_location_may_change_and_the_digest_there_may_not(harness: Harness) -> None:
    digest = "ab" * 32
    by_place = build(data_type="wine", version=1, location="s3://a/b", sha256=digest, size=5)
    moved = harness.admit(changed(signed(by_place), location="s3://c/d"))
    assert isinstance(moved, bytes) and parse(moved).location == "s3://c/d" and parse(moved).sha256 == digest
    assert harness.refused(changed(signed(by_place), sha256="cd" * 32)).startswith("tampered: the digest")
    with pytest.raises(SignatureError, match="without its sha256"):
        signed(build(data_type="wine", version=1, location="s3://a/b"))


def test_graphs_are_signed_node_by_node(harness: Harness) -> None:
    nodes = (
        Node("a", "PMML", data=b"one"),
        Node("b", "PMML", location="s3://x/y", sha256="ab" * 32, size=3),
        Node("both", combine=MEAN, of=(OutputRef("a"), OutputRef("b"))),
    )
    graph = build(data_type="wine", model_type="GRAPH", version=1, graph=Graph(nodes))
    assert isinstance(harness.admit(signed(graph)), bytes)
    message = ModelDescriptor.FromString(signed(graph, ms=NOW + 1))
    message.graph.nodes[0].data = b"two"
    assert harness.refused(message.SerializeToString()).startswith("tampered: ")


def test_plans_and_unpublishings_are_signed_too(harness: Harness) -> None:
    plan = build(data_type="wine", operation=DECIDE, plan='{"deadline_ms": 50}', version=1)
    gone = build(data_type="wine", name="forest", operation=WITHDRAW)
    assert isinstance(harness.admit(signed(plan)), bytes) and isinstance(harness.admit(signed(gone)), bytes)
    assert harness.refused(changed(signed(plan), plan='{"deadline_ms": 5}')).startswith("tampered: the plan")
    assert harness.refused(plan).startswith("unsigned: ") and harness.refused(gone).startswith("unsigned: ")


@pytest.mark.parametrize("right", ALL_RIGHTS)
def test_a_key_may_what_its_entry_says_and_no_more(tmp_path: Path, right: str) -> None:
    without = [r for r in ALL_RIGHTS if r != right]
    harness = Harness(tmp_path, entry("some", KEY, may=without))
    asks = {
        "publish": MODEL,
        "force": changed(MODEL, force=True),
        "unpublish": build(data_type="wine", operation=WITHDRAW),
        "decide": build(data_type="wine", operation=DECIDE, version=1),
    }
    assert f"and this is to {right}" in harness.refused(signed(asks[right]))
    harness = Harness(tmp_path, entry("some", KEY, may=[right] if right != "force" else ["force", "publish"]))
    assert isinstance(harness.admit(signed(asks[right])), bytes)


def test_a_key_is_for_its_data_types(tmp_path: Path) -> None:
    harness = Harness(tmp_path, entry("wines", KEY, ["wine", "beer"]), entry("houses", OTHER, ["house"]))
    assert isinstance(harness.admit(signed()), bytes)
    assert "not allowed: the key houses is for house" in harness.refused(signed(key=OTHER))


def test_every_operation_needs_a_right() -> None:
    assert set(ModelDescriptor.Operation.keys()) <= set(RIGHTS)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_a_time_without_a_zone_is_utc_wherever_a_job_runs(harness: Harness, monkeypatch, zone: str) -> None:
    """Such a time was local, and one of a year that has no such time there ended the job."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for n, until in enumerate(["9999-12-31T23:59:59", "2025-11-28T14:30:00"]):
            harness.path.write_text(entry("release", KEY, more=f"until = {until}"))
            assert isinstance(harness.admit(signed(ms=NOW + n)), bytes)
        for until in ("0001-01-01T00:00:00", "2025-11-28T14:00:00"):
            harness.path.write_text(entry("release", KEY, more=f"until = {until}"))
            assert harness.refused(signed(ms=NOW + 9)).startswith("revoked key: ")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_keys_come_and_go_while_the_gate_stands(harness: Harness) -> None:
    assert harness.refused(signed(key=OTHER)).startswith("foreign key: ")
    harness.path.write_text(entry("release", KEY, more="revoked = true") + entry("next", OTHER))
    assert isinstance(harness.admit(signed(key=OTHER)), bytes)
    assert harness.refused(signed()) == "revoked key: the key release is revoked"
    harness.path.write_text(entry("release", KEY, more="until = 2020-01-01T00:00:00Z"))
    assert harness.refused(signed()).startswith("revoked key: the key release was to be used until 2020")
    assert harness.refused(signed(key=OTHER, ms=NOW + 1)).startswith("foreign key: ")


@pytest.mark.parametrize(
    "text",
    ["[keys", "keys = 1", "[keys.a]\npublic = 'x'\ndata_types=[]\nmay=[]", entry("a", KEY, may=["all"]),
     entry("a", KEY) + entry("b", KEY)],
)  # fmt: skip
def test_nobody_is_trusted_while_the_file_of_keys_cannot_be_read(harness: Harness, text: str) -> None:
    assert isinstance(harness.admit(signed()), bytes)
    harness.path.write_text(text)
    assert harness.refused(signed(ms=NOW + 1)).startswith("no keys: the file of keys ")
    harness.path.unlink()
    assert "No such file" in harness.refused(signed(ms=NOW + 1))
    keys_file(harness.path.parent, entry("release", KEY))
    assert isinstance(harness.admit(signed(ms=NOW + 1)), bytes)


def test_counters_are_of_a_name_and_outlive_a_restart(harness: Harness, tmp_path: Path) -> None:
    first, second = signed(), signed(changed(MODEL, version=4), NOW + 1)
    other = signed(build(data_type="wine", name="net", version=1, data=b"x"))
    assert isinstance(harness.admit(second), bytes)
    assert isinstance(harness.admit(other), bytes), "another partition of the topic may be behind"
    again = Harness(tmp_path)
    again.counters.update(harness.counters)
    for late in (first, second, other):
        assert again.refused(late).startswith("replayed: ")
    renamed = Harness(tmp_path, entry("another name", KEY))
    renamed.counters.update(harness.counters)
    assert renamed.refused(first).startswith("replayed: "), "a counter is of the key, not of its name"


def test_without_a_demand_what_is_unsigned_comes_in_and_what_is_signed_badly_does_not(tmp_path: Path) -> None:
    harness = Harness(tmp_path, require=False)
    assert harness.admit(MODEL) == MODEL
    assert harness.refused(signed(key=OTHER)).startswith("foreign key: ")
    admitted = harness.admit(signed())
    assert isinstance(admitted, bytes) and parse(admitted).signer == "release"


@pytest.mark.parametrize("keys", [True, False])
def test_no_publisher_names_its_own_signer(tmp_path: Path, keys: bool) -> None:
    harness = Harness(tmp_path, require=False, **({} if keys else {"keys": ""}))
    admitted = harness.admit(changed(MODEL, signer="release"))
    assert isinstance(admitted, bytes) and parse(admitted).signer == ""


def test_bytes_that_are_no_descriptor_are_left_to_who_refuses_them(harness: Harness) -> None:
    assert harness.admit(b"\xff") == b"\xff"


def test_a_signature_over_files_alone_is_not_enough(harness: Harness) -> None:
    payload = json.loads(base64.b64decode(json.loads(bundle_of(signed()))["dsseEnvelope"]["payload"]))
    del payload["predicate"]["millrace"]
    message = ModelDescriptor.FromString(MODEL)
    message.bundle = resigned(json.dumps(payload).encode())
    assert "says neither for which data type" in harness.refused(message.SerializeToString())


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("_type",), "https://in-toto.io/Statement/v0.1", "what is signed is a"),
        (("predicateType",), "https://slsa.dev/provenance/v1", "what is signed is a"),
        (("predicate", "serialization", "method"), "shards", "in shards"),
        (("subject", 0, "digest", "sha256"), "00", "not the digest of its files"),
        (("predicate", "resources"), [], "not the digest of its files"),
        (("predicate", "millrace", "format"), 2, "format 2"),
        (("predicate", "millrace", "counter"), -1, "no statement about a model"),
        (("predicate", "millrace", "counter"), 2**64, "no statement about a model"),
        (("predicate", "millrace", "issued"), 10**400, "no statement about a model"),
        (("predicate", "millrace", "expires"), -(10**400), "no statement about a model"),
        (("predicate", "millrace"), "x", "no statement about a model"),
    ],
)
def test_statements_of_other_kinds(harness: Harness, path: tuple[Any, ...], value: Any, says: str) -> None:
    payload = json.loads(base64.b64decode(json.loads(bundle_of(signed()))["dsseEnvelope"]["payload"]))
    inner = payload
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    message = ModelDescriptor.FromString(MODEL)
    message.bundle = resigned(json.dumps(payload).encode())
    assert says in harness.refused(message.SerializeToString())
    assert not harness.counters


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.update(mediaType="application/json"),
        lambda b: b["dsseEnvelope"].update(payloadType="text/plain"),
        lambda b: b["dsseEnvelope"].update(signatures=[]),
        lambda b: b["dsseEnvelope"]["signatures"].append(b["dsseEnvelope"]["signatures"][0]),
        lambda b: b.update(verificationMaterial={"certificate": {"rawBytes": ""}}),
        lambda b: b.update(dsseEnvelope=None),
        lambda b: b.update(x="x" * 300_000),
    ],
)
def test_bundles_of_other_kinds(harness: Harness, change: Any) -> None:
    bundle = json.loads(bundle_of(signed()))
    change(bundle)
    message = ModelDescriptor.FromString(MODEL)
    message.bundle = json.dumps(bundle).encode()
    assert harness.refused(message.SerializeToString()).startswith("unreadable signature: ")


def test_an_older_bundle_without_a_hint_is_verified_by_every_key(tmp_path: Path) -> None:
    harness = Harness(tmp_path, entry("other", OTHER), entry("release", KEY))
    bundle = json.loads(bundle_of(signed()))
    bundle["verificationMaterial"]["publicKey"] = {"rawBytes": "AA==", "keyDetails": "PKIX"}
    admitted = harness.admit(changed(MODEL, bundle=json.dumps(bundle).encode()))
    assert isinstance(admitted, bytes) and parse(admitted).signer == "release"
    alone = Harness(tmp_path, entry("other", OTHER))
    assert alone.refused(changed(MODEL, bundle=json.dumps(bundle).encode())).startswith("foreign key: ")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_the_curves_of_the_specification(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    assert isinstance(Harness(tmp_path, entry("k", key)).admit(signed(key=key)), bytes)


def test_keys_of_other_kinds_are_not_read(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    harness = Harness(tmp_path, entry("k", key))
    assert "P-256, P-384 or P-521" in harness.refused(signed())
    with pytest.raises(SettingsError, match="is no private key"):
        read_private_key(harness.path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_private_key(tmp_path / "none")


def test_a_private_key_with_a_password(tmp_path: Path) -> None:
    private, _ = new_key("secret")
    path = tmp_path / "k.pem"
    path.write_bytes(private)
    assert read_private_key(path, "secret").curve.name == "secp256r1"
    for wrong in ("", "other"):
        with pytest.raises(SettingsError, match="password"):
            read_private_key(path, wrong)


def test_signers_do_not_show_their_key() -> None:
    assert "key" not in repr(signer()).replace("DescriptorSigner", "")


def test_the_digest_of_a_descriptor_is_that_of_earlier_releases() -> None:
    """A signature that was made stays good: these bytes do not change."""
    message = ModelDescriptor(name="n", dataType="t", version=1, metrics={"b": 1.0, "a": 2.0}, data=b"x")
    message.inputs.add(name="i", fields=["f"])
    assert descriptor_digest(message) == "3aae6d37a1d7fa69a931f1f776c0283a7077bfa3c0c1943f11acaaebd3fb7efc"


def test_a_file_of_keys_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeysFile(keys_file(tmp_path, entry("release", KEY)))
    first = file.keyring()
    assert file.keyring() is first
    keys_file(tmp_path, entry("release", KEY), entry("next", OTHER))
    assert file.keyring() is not first


def test_each_fault_is_told_apart() -> None:
    assert len({fault.value for fault in SignatureFault}) == len(SignatureFault)


def bundle_of(descriptor: bytes) -> bytes:
    return ModelDescriptor.FromString(descriptor).bundle


def resigned(payload: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes

    signature = KEY.sign(signed_bytes(payload), ec.ECDSA(hashes.SHA256()))
    return write_bundle(payload, signature, fingerprint(KEY.public_key()))


def test_inputs_of_a_signed_model_come_through(harness: Harness) -> None:
    model = build(data_type="wine", version=1, data=b"x", inputs=[PartialInput("x", None, None, ("a",))])
    admitted = harness.admit(signed(model))
    assert isinstance(admitted, bytes) and parse(admitted).inputs == parse(model).inputs
