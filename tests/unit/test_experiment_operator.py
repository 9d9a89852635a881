"""The controller's operator with state and timers in memory: what it writes, and what a restart finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from operators.keyed_bytes import KeyedBytes
from operators.lifecycle.control_experiments import EXPERIMENTS, ControlExperiments
from schemas.errors import RegistryError
from schemas.lifecycle.experiments import ExperimentEvent, read_event
from schemas.lifecycle.quality import write_message
from schemas.micro_batch import encode_micro_batch
from schemas.plans.plan import Only, Split, read_plan
from tests.experiment_evidence import DECLARED, evidence
from tests.flink_fakes import KeyedContext
from tests.output_batches import messages_of
from tests.serving_fakes import batch_of
from tests.unit.test_router_operator import Context, Timers
from udfs.lifecycle.experiments.declaration import Arm
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.models.descriptor import DECIDE, EXPERIMENT, WITHDRAW, build, parse
from udfs.models.signing.gate import SignatureGate, SigningSpec
from udfs.models.signing.signer import SignsWith, new_key
from udfs.stores.registry.model_records import AliasChange, RegisteredModel
from udfs.stores.registry.models import ModelRegistry


class Harness:
    """The operator's one instance; `said`: what it wrote, in words. `states`: of a savepoint."""

    def __init__(
        self,
        states: dict[str, dict[str, Any]] | None = None,
        registry: str = "",
        signs: SignsWith | None = None,
        most_jump: int | None = None,
    ) -> None:
        self.store, self.timers = KeyedContext(states), Timers()
        self.store.key = "0"
        self.operator = ControlExperiments(1000, registry, signs, most_jump)
        self.operator.open(self.store)  # type: ignore[arg-type]
        self.step: int | None = None
        self.plans: list[bytes] = []
        self.kept: dict[bytes, ExperimentEvent] = {}
        """What a compacted topic keeps of its events."""

    def evidence(self, *messages: bytes) -> list[str]:
        return self._said(
            self.operator.process_element1(encode_micro_batch(batch_of(list(messages))), self._at())
        )

    def tell(self, descriptor: bytes) -> list[str]:
        return self._said(self.operator.process_element2(descriptor, self._at()))

    def on_timer(self) -> list[str]:
        return self._said(self.operator.on_timer(2000, self._at()))

    def _at(self) -> Any:
        return Context("0", self.timers)

    def _said(self, sent: Any) -> list[str]:
        said = []
        for one in sent:
            tag, row = one if isinstance(one, tuple) else (None, one)
            for message in messages_of(row):
                if tag is EXPERIMENTS:
                    event = read_event(message.value)
                    said.append(f"{event.kind} {event.reason}".strip())
                    self.kept[message.key] = event
                    continue
                plan = parse(message.value)
                assert (plan.operation, plan.name) in ((DECIDE, "wine-v4"), (DECIDE, "experiments"))
                assert message.key == f"wine/DECIDE/{plan.name}".encode()
                self.plans.append(message.value)
                split = read_plan(plan.plan).experiment
                self.step = split.step if isinstance(split, Split) else None
                said.append(f"plan {plan.version}")
        return said


def start(name: str = "wine-v4") -> bytes:
    order = write_order(Order("start", replace(DECLARED, alias="champion")))
    return build(data_type="wine", name=name, version=7, operation=EXPERIMENT, experiment=order)


def run(harness: Harness, right: float, restart: bool = False) -> tuple[list[str], Harness]:
    said = harness.tell(start())
    for k in range(0, 4000, 50):
        if harness.step is None:
            break
        if restart:
            again = Harness(harness.store.states)
            again.step = harness.step
            harness = again
        said += harness.evidence(write_message(evidence(k, 50, harness.step, right)))
    return said, harness


def registry_of(folder: Path, *models: tuple[str, int]) -> tuple[str, ModelRegistry]:
    """A registry with these models, by name and version, and its URL."""
    url = f"sqlite:///{folder}/registry.db"
    registry = ModelRegistry(url)
    registry.make()
    for name, version in models:
        registry.put(RegisteredModel("wine", name, version, "ab" * 32, "PMML", created=1))
    return url, registry


def test_orders_and_evidence_become_plans_on_the_model_stream():
    said, harness = run(Harness(), 0.4)
    assert said == ["plan 7", "started", "plan 8", "step", "plan 9", "rolled_back"]
    last = parse(harness.plans[-1])
    assert read_plan(last.plan).route == Only(("old",))
    assert last.description.startswith("rolled back; correct; ") and "for harm" in last.description
    assert not any(harness.store.states["entities"].values())


def test_its_plans_are_signed_so_that_jobs_take_them_which_want_that(tmp_path):
    private, public = new_key()
    (tmp_path / "key.pem").write_bytes(private)
    (tmp_path / "keys.toml").write_text(
        f'[keys.controller]\ndata_types = ["wine"]\nmay = ["decide"]\npublic = """\n{public.decode()}"""\n'
    )
    _, harness = run(Harness(signs=SignsWith(str(tmp_path / "key.pem"), ("prod",))), 0.92)
    gate = SignatureGate(SigningSpec(True, str(tmp_path / "keys.toml"), "prod"))
    counters = KeyedBytes(KeyedContext(), "signature-counters")  # type: ignore[arg-type]
    admitted = [gate.admit(plan, counters) for plan in harness.plans]
    assert [parse(one).signer for one in admitted if isinstance(one, bytes)] == ["controller"] * len(
        harness.plans
    )


def test_its_own_plans_come_back_and_change_nothing():
    said, harness = run(Harness(), 0.92)
    told = "promoted the alias champion was not moved: the controller has no registry"
    assert said[-2:] == ["plan 10", told]  # it said nothing of it
    for plan in harness.plans:
        assert harness.tell(plan) == []
    assert harness.tell(start()) == ["refused there was an experiment 'wine-v4': give this one another name"]


def test_a_plan_of_its_name_from_before_is_known_after_a_restart():
    harness = Harness()
    stranger = build(data_type="wine", name="wine-v4", version=70, operation=DECIDE, plan="{}")
    assert harness.tell(stranger) == []
    again = Harness(harness.store.states)
    assert again.tell(start()) == ["plan 71", "started"]
    again = Harness(again.store.states)
    withdrawal = build(data_type="wine", name="wine-v4", operation=WITHDRAW)
    assert again.tell(withdrawal) == []  # its plan takes force behind it


def test_a_withdrawal_stops_it_once_its_plan_has_come_back():
    harness = Harness()
    harness.tell(start())
    again = Harness(harness.store.states)
    assert again.tell(harness.plans[-1]) == []
    again = Harness(again.store.states)
    (stopped,) = again.tell(build(data_type="wine", name="wine-v4", operation=WITHDRAW))
    assert stopped.startswith("stopped its plan 'wine-v4' is not in force")


def test_versions_of_its_plans_rise_by_what_jobs_take():
    harness = Harness(most_jump=4)
    harness.tell(build(data_type="wine", name="wine-v4", version=1, operation=DECIDE, plan="{}"))
    assert harness.tell(start()) == ["plan 5", "started"]


def test_a_refused_order_takes_the_place_of_nothing_that_was_said_of_an_experiment():
    """Nor of what was refused of another data type: who ordered there is to see it too."""
    _, harness = run(Harness(), 0.92)
    harness.tell(start())
    stop = write_order(Order("stop"))
    for data_type in ("tea", "wine"):
        harness.tell(build(data_type=data_type, name="x", version=1, operation=EXPERIMENT, experiment=stop))
    harness.evidence(b"{")
    assert harness.kept[b"wine-v4"].kind == "promoted"
    refused = [one for one in harness.kept.values() if one.kind == "refused"]
    about = [(one.experiment, one.data_type) for one in refused]
    assert about == [("wine-v4", "wine"), ("x", "tea"), ("x", "wine"), ("", "")]
    assert all(harness.kept)  # a compacted topic takes no message without a key


def test_a_restart_finds_experiments_and_entities_and_says_nothing_twice():
    whole, _ = run(Harness(), 0.92)
    said, harness = run(Harness(), 0.92, restart=True)
    assert said == whole
    assert Harness(harness.store.states).tell(start())[0].startswith("refused there was an experiment")


def test_what_is_no_evidence_is_told_and_passed_over():
    harness = Harness()
    harness.tell(start())
    good = write_message(evidence(0, 10, 0, 0.8))
    (said,) = harness.evidence(b"{", good)
    assert said.startswith("refused this is no EvidenceBatch")
    assert harness.on_timer() == ["progress"] and harness.on_timer() == []
    assert harness.tell(b"no descriptor") == []


def test_a_new_version_of_an_arm_s_model_ends_it():
    harness = Harness()
    harness.tell(start())
    model = build(data_type="wine", name="new", version=5, model_type="PMML", data=b"x")
    assert harness.tell(model) == ["plan 8", "rolled_back"]


def test_a_promotion_moves_the_alias_in_the_registry(tmp_path):
    url, registry = registry_of(tmp_path, ("old", 3), ("new", 4))
    registry.set_alias(AliasChange("wine", "old", "champion", 3, 2))
    said, _ = run(Harness(registry=url), 0.92)
    assert said[-1] == "promoted champion is new version 4"
    now = registry.alias("new", "champion")
    assert (now.version, now.by) == (4, "experiment wine-v4") and "for gain" in now.reason
    with pytest.raises(RegistryError, match="no alias"):
        registry.alias("old", "champion")
    registry.close()


def test_the_alias_leaves_what_another_experiment_had_promoted(tmp_path):
    url, registry = registry_of(tmp_path, ("old", 3), ("new", 4), ("third", 1))
    harness = Harness(registry=url)
    for k, (name, model, version) in enumerate((("wine-v4", "new", 4), ("third-one", "third", 1))):
        arms = {"control": Arm("old", 3), "treatment": Arm(model, version)}
        declared = replace(DECLARED, name=name, arms=arms, population=(k / 2, (k + 1) / 2), alias="champion")
        order = write_order(Order("start", declared))
        harness.tell(build(data_type="wine", name=name, version=7, operation=EXPERIMENT, experiment=order))
    for name, model in (("wine-v4", "new"), ("third-one", "third")):
        order = write_order(Order("promote"))
        harness.tell(build(data_type="wine", name=name, version=8, operation=EXPERIMENT, experiment=order))
        assert registry.alias(model, "champion").by == f"experiment {name}"
    with pytest.raises(RegistryError, match="no alias"):
        registry.alias("new", "champion")
    registry.close()


def test_the_alias_goes_back_where_jobs_refuse_the_plan_of_the_promotion(tmp_path):
    url, registry = registry_of(tmp_path, ("old", 3), ("new", 4))
    registry.set_alias(AliasChange("wine", "old", "champion", 3, 2))
    said, harness = run(Harness(registry=url), 0.92)
    assert said[-2:] == ["plan 10", "promoted champion is new version 4"]
    for plan in harness.plans[:-1]:
        assert harness.tell(plan) == []
    foreign = parse(harness.plans[0])
    ahead = build(data_type="wine", name=foreign.name, version=20, operation=DECIDE, plan=foreign.plan)
    assert harness.tell(ahead) == []
    (told,) = harness.tell(harness.plans[-1])
    assert told.startswith("stopped plan 'wine-v4' version 20 was put in force")
    assert told.endswith("; the alias champion is old version 3, no longer new")
    assert registry.alias("old", "champion").version == 3
    with pytest.raises(RegistryError, match="no alias"):
        registry.alias("new", "champion")
    assert "version 20" in registry.alias_changes("new")[-1].reason
    registry.close()


def test_an_alias_that_somebody_has_moved_since_stays(tmp_path):
    url, registry = registry_of(tmp_path, ("new", 4), ("new", 5))
    _, harness = run(Harness(registry=url), 0.92)
    registry.set_alias(AliasChange("wine", "new", "champion", 5, 2**50, by="ana"))
    foreign = parse(harness.plans[0])
    harness.tell(build(data_type="wine", name="wine-v4", version=20, operation=DECIDE, plan=foreign.plan))
    (told,) = harness.tell(harness.plans[-1])
    assert told.startswith("stopped") and "alias" not in told
    assert registry.alias("new", "champion").version == 5
    registry.close()


def test_a_registry_that_is_not_there_stops_no_promotion(tmp_path):
    said, _ = run(Harness(registry=f"sqlite:///{tmp_path}/none/registry.db"), 0.92)
    assert said[-1].startswith("promoted the alias champion was not moved")
