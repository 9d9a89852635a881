"""A plan of speculative execution: who is asked about a record, until when, and which answer counts.

It travels as JSON in a descriptor with the operation DECIDE. Policies chain by `otherwise`: the next one
is asked about the records that the one before could not decide.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
import orjson

from schemas.errors import PlanError
from schemas.names import excess_of_name

__all__ = [
    "Agreement",
    "All",
    "BestConfidence",
    "BestQuality",
    "ByHash",
    "ByRule",
    "Fallback",
    "First",
    "Majority",
    "MeanAnswer",
    "MedianAnswer",
    "Only",
    "Plan",
    "PlanArm",
    "Policy",
    "Prefer",
    "Route",
    "Rule",
    "Split",
    "read_plan",
    "write_plan",
]
"""What `millrace.plans` offers to users' own code."""

DEFAULT_DEADLINE_MS = 100
LONGEST_CHAIN = 16
"""Policies that may follow each other by `otherwise`."""

LONGEST_PLAN = 100_000
"""Bytes of a plan's JSON."""

MOST_RULES = 64
"""Rules of one route."""

MOST_ARMS = 8
"""Arms of one experiment."""

MOST_EXPERIMENTS = 8
"""Experiments of one plan."""

_LEAST_WEIGHT = 1e-30
"""Sums of weights, and products with answers, are numbers then, and not 0 or infinite."""
_MOST_STEPS = 2**31


class _Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="policy"):
    otherwise: Policy | None = None


class First(_Policy, frozen=True, tag="first"):
    """The answer that arrived first, record by record."""


class Prefer(_Policy, frozen=True, tag="prefer"):
    """The first of `candidates`, in their order, that answered in time: smart if in time, else fast."""

    candidates: tuple[str, ...] = ()


class Majority(_Policy, frozen=True, tag="majority"):
    """The value of `output` that most answers share, where there are at least `least` of them.

    A vector votes for the index of its largest element (the first of equals). Numbers are equal by value, a
    text never equals a number. `tie`: among equally frequent values the one whose first vote arrived first,
    the lowest, the highest (numbers before texts, those by code point), the one whose `confidence` output
    is highest in sum (then the lowest), or none. `within`: the share of answers that must agree; 0 for any
    plurality.
    """

    output: str = ""
    least: int = 3
    tie: Literal["first", "lowest", "highest", "confidence", "undecided"] = "first"
    confidence: str = ""
    within: float = 0.0


class MeanAnswer(_Policy, frozen=True, tag="mean"):
    """The mean of `output`, element by element, over at least `least` answers.

    Where `weights` is given the mean is weighted, and a candidate that it does not name has no part in it.
    """

    output: str = ""
    least: int = 1
    weights: dict[str, float] = {}


class MedianAnswer(_Policy, frozen=True, tag="median"):
    """The median of `output`, element by element, over at least `least` answers; of two the mean."""

    output: str = ""
    least: int = 1


class BestConfidence(_Policy, frozen=True, tag="best_confidence"):
    """The answer whose `confidence` output is highest (of a vector its largest element), then by name."""

    confidence: str = ""


class BestQuality(_Policy, frozen=True, tag="best_quality"):
    """The answer of the candidate whose descriptor has the best `metric`, then by name.

    A candidate without the metric has no part in it.
    """

    metric: str = ""
    better: Literal["higher", "lower"] = "higher"


class Agreement(_Policy, frozen=True, tag="agreement"):
    """The mean of the largest set of at least `least` answers that lie within `tolerance` of each other.

    Of sets of one size the narrowest, then the lowest. Where there is none: the lowest or highest of all
    answers, as `conservative` says, or none. `output` is one number a record.
    """

    output: str = ""
    tolerance: float = 0.0
    conservative: Literal["lowest", "highest", "undecided"] = "lowest"
    least: int = 2


class Fallback(_Policy, frozen=True, tag="fallback"):
    """A fixed value (output -> value). It decides as soon as no policy before it can any more."""

    value: dict[str, Any] = {}


Policy = (
    First
    | Prefer
    | Majority
    | MeanAnswer
    | MedianAnswer
    | BestConfidence
    | BestQuality
    | Agreement
    | Fallback
)


class All(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="route", tag="all"):
    """Every candidate of the data type."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`when`: a CEL expression over `record`; `candidates`: who is asked where it is true."""

    when: str
    candidates: tuple[str, ...]


class ByRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="route", tag="rules"):
    """The first rule that holds; where none does (or its evaluation fails), `otherwise`; empty: all."""

    rules: tuple[Rule, ...]
    otherwise: tuple[str, ...] = ()


class ByHash(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="route", tag="hash"):
    """One candidate a record, by a sticky hash of the record field `entity` (or its key if empty)."""

    weights: dict[str, float]
    entity: str = ""
    salt: str = ""


class Only(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="route", tag="only"):
    """These candidates about every record."""

    candidates: tuple[str, ...]


Route = All | ByRule | ByHash | Only


class PlanArm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share of entities that get the arm, and the plan that they get; it has no experiment of its own."""

    name: str
    share: float
    plan: Plan


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An experiment at a step of its ramp: which arm an entity gets, by a sticky hash of the record field
    `entity` with the experiment's own `salt`.

    The draw depends on the order of `arms` and not on their names, so that a share that grows at the cost of
    the first arm's only draws entities in. A record without the entity, or that cannot be parsed, is in no
    arm: the first arm's plan serves it. `step` counts from 0.

    `population`: from where to where in [0, 1) the entities lie that are part of it, by a hash that depends
    on the data type and on nothing else, so that experiments with populations apart share no entity. Only
    with several `experiments`.
    """

    name: str
    entity: str
    salt: str
    arms: tuple[PlanArm, ...]
    step: int = 0
    population: tuple[float, float] | msgspec.UnsetType = msgspec.UNSET


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`shadow`: candidates that are asked and reported and never decide. With an `experiment` the plans of
    its arms decide, and nothing else is set. With `experiments`, each of the entities in its `population`,
    the rest of the plan decides about records in none of them.
    """

    policy: Policy = First()
    route: Route = All()
    shadow: tuple[str, ...] = ()
    deadline_ms: int = DEFAULT_DEADLINE_MS
    experiment: Split | msgspec.UnsetType = msgspec.UNSET
    experiments: tuple[Split, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def splits(self) -> tuple[Split, ...]:
        """All its experiments."""
        return (self.experiment,) if isinstance(self.experiment, Split) else self.experiments or ()

    @property
    def rest(self) -> Plan:
        """What decides about a record that is in no experiment."""
        if isinstance(self.experiment, Split):
            return self.experiment.arms[0].plan
        return msgspec.structs.replace(self, experiments=msgspec.UNSET)


def read_plan(data: bytes | str) -> Plan:
    """Read and check a plan; nothing at all is the default plan.

    Raises `PlanError` with what is wrong and where, also for a plan that contradicts itself.
    """
    if len(data) > LONGEST_PLAN:
        raise PlanError(f"not a plan: it has {len(data)} characters, and {LONGEST_PLAN} are the most")
    try:
        plan = _PLAN_DECODER.decode(data or b"{}")
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise PlanError(f"not a plan: {e}") from None
    check_plan(plan)
    return plan


def check_plan(plan: Plan) -> None:
    """Raises `PlanError` for a plan that contradicts itself."""
    if isinstance(plan.experiment, Split):
        _check_alone(plan, plan.experiment)
        return
    if plan.experiments is not msgspec.UNSET:
        _check_together(plan.splits)
    if not 1 <= plan.deadline_ms <= 60_000:
        raise PlanError(f"deadline_ms must be from 1 to 60,000, not {plan.deadline_ms}")
    _check_names(plan.shadow, "shadow", ())
    _check_route(plan.route, plan.shadow)
    policies = list(chain(plan.policy))
    if len(policies) > LONGEST_CHAIN:
        raise PlanError(f"a plan may chain {LONGEST_CHAIN} policies by otherwise, not {len(policies)}")
    for policy in policies:
        _check_policy(policy, plan.shadow)


def write_plan(plan: Plan) -> bytes:
    """The JSON in which a plan travels; `read_plan` reads it."""
    return msgspec.json.encode(plan)


def chain(policy: Policy | None) -> Iterator[Policy]:
    """The policy and those it falls back on, in order."""
    while policy is not None:
        yield policy
        policy = policy.otherwise


def tag_of(policy: Policy) -> str:
    """The policy's name in a plan."""
    return str(policy.__struct_config__.tag)


def _check_alone(plan: Plan, split: Split) -> None:
    if msgspec.structs.replace(plan, experiment=msgspec.UNSET) != Plan():
        raise PlanError("the plans of an experiment's arms decide: beside the experiment nothing may be set")
    if split.population:
        raise PlanError("an experiment with a population stands in experiments, beside what others get")
    _check_split(split)


def _check_together(splits: Sequence[Split]) -> None:
    if not 1 <= len(splits) <= MOST_EXPERIMENTS:
        raise PlanError(f"a plan has from 1 to {MOST_EXPERIMENTS} experiments, not {len(splits)}")
    for split in splits:
        try:
            check_population(split.population or ())
            _check_split(split)
        except PlanError as e:
            raise PlanError(f"experiment {split.name!r}: {e}") from None
    if len({split.name for split in splits}) < len(splits):
        raise PlanError("each experiment of a plan needs a name of its own")
    if len(entities := {split.entity for split in splits}) > 1:
        said = f"and here it is one of {', '.join(sorted(entities))}"
        raise PlanError(f"experiments of one plan draw by the same entity, {said}")
    by_place = sorted(splits, key=lambda split: split.population or ())
    for one, other in itertools.pairwise(by_place):
        if populations_meet(one.population or (), other.population or ()):
            said = f"{one.name!r} and {other.name!r} share entities"
            raise PlanError(f"experiments of one plan have populations apart, and {said}")


def check_population(population: Sequence[float]) -> None:
    """Raises `PlanError` for what is no part of all entities."""
    if len(population) != 2 or not 0 <= population[0] < population[1] <= 1:
        shown = list(population) or "not set"
        raise PlanError(f"population must rise within 0 and 1, as in [0.0, 0.5], and is {shown}")


def populations_meet(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether an entity may be in both."""
    return one[0] < other[1] and other[0] < one[1]


def _check_split(split: Split) -> None:
    for name in ("name", "entity", "salt"):
        if not getattr(split, name):
            raise PlanError(f"the experiment needs its {name}")
        check_length(getattr(split, name), f"the {name} of the experiment")
    names = [arm.name for arm in split.arms]
    if not 2 <= len(names) <= MOST_ARMS or "" in names or len(set(names)) < len(names):
        raise PlanError(f"the experiment needs from 2 to {MOST_ARMS} arms, each with a name of its own")
    shares = [arm.share for arm in split.arms]
    if not all(0 < share < 1 for share in shares) or abs(sum(shares) - 1) > 1e-9:
        raise PlanError(f"shares of the arms must lie between 0 and 1 and add up to 1, and are {shares}")
    if not 0 <= split.step < _MOST_STEPS:
        raise PlanError(f"the step of the ramp must be from 0 to {_MOST_STEPS - 1}, and is {split.step}")
    for arm in split.arms:
        check_length(arm.name, "an arm of the experiment")
        if arm.plan.splits:
            raise PlanError(f"arm {arm.name!r} has an experiment of its own: one plan has one")
        try:
            check_plan(arm.plan)
        except PlanError as e:
            raise PlanError(f"arm {arm.name!r}: {e}") from None


def _check_policy(policy: Policy, shadows: Sequence[str]) -> None:
    tag = tag_of(policy)
    named = ("output", "metric", "confidence" if isinstance(policy, BestConfidence) else "output")
    for name in named:
        if getattr(policy, name, None) == "":
            raise PlanError(f"{tag} must name its {name}")
    _check_lengths(policy, tag)
    minimum = 2 if isinstance(policy, Agreement) else 1
    if getattr(policy, "least", minimum) < minimum:
        raise PlanError(f"{tag}: least must be {minimum} or more, not {getattr(policy, 'least', minimum)}")
    match policy:
        case Prefer(candidates=candidates):
            _check_names(candidates, f"{tag}.candidates", shadows, some=True)
        case Majority(tie=tie, confidence=confidence, within=within):
            if (tie == "confidence") != bool(confidence):
                raise PlanError(f"{tag}: tie 'confidence' and the name of the confidence output go together")
            if not 0 <= within <= 1:
                raise PlanError(f"{tag}: within must be from 0 to 1, not {within}")
        case MeanAnswer(weights=weights, least=least) if weights:
            _check_weights(weights, f"{tag}.weights", shadows)
            if least > len(weights):
                raise PlanError(f"{tag}: least is {least}, but weights names only {len(weights)}")
        case Agreement(tolerance=tolerance) if not (math.isfinite(tolerance) and tolerance >= 0):
            raise PlanError(f"{tag}: tolerance must not be negative, and is {tolerance}")
        case Fallback():
            _check_fallback(policy, tag)


def _check_lengths(policy: Policy, tag: str) -> None:
    for name in ("output", "metric", "confidence"):
        check_length(getattr(policy, name, ""), f"the {name} of {tag}")
    for name in policy.value if isinstance(policy, Fallback) else ():
        check_length(name, f"an output of {tag}")


def _check_fallback(policy: Fallback, tag: str) -> None:
    if not policy.value:
        raise PlanError(f"{tag} must have a value for at least one output")
    if not _writable(policy.value):
        raise PlanError(f"{tag} has a value that no result can hold: too large an integer, or too deep")
    if policy.otherwise is not None:
        raise PlanError(f"{tag} always decides: its otherwise would never be asked")


def _check_route(route: Route, shadows: Sequence[str]) -> None:
    match route:
        case ByRule(rules=rules, otherwise=otherwise):
            if not rules:
                raise PlanError("the route 'rules' must have at least one rule")
            if len(rules) > MOST_RULES:
                raise PlanError(f"the route has {len(rules)} rules, and {MOST_RULES} are the most")
            for number, rule in enumerate(rules, 1):
                if not rule.when.strip():
                    raise PlanError(f"rule {number} of the route has no condition in when")
                _check_names(rule.candidates, f"rule {number} of the route", shadows, some=True)
            _check_names(otherwise, "otherwise of the route", shadows)
        case ByHash(weights=weights):
            if not weights:
                raise PlanError("the route 'hash' must have weights")
            _check_weights(weights, "weights of the route", shadows)
        case Only(candidates=candidates):
            _check_names(candidates, "the route 'only'", shadows, some=True)


def _check_weights(weights: Mapping[str, float], where: str, shadows: Sequence[str]) -> None:
    _check_names(tuple(weights), where, shadows)
    for name, weight in weights.items():
        if not _LEAST_WEIGHT <= weight <= 1 / _LEAST_WEIGHT:
            between = f"from {_LEAST_WEIGHT:g} to {1 / _LEAST_WEIGHT:g}"
            raise PlanError(f"{where}: the weight of {name!r} must be {between}, and is {weight}")


def check_length(name: str, what: str) -> None:
    """Raises `PlanError` for a name that is too long to stand in results and events."""
    if excess := excess_of_name(name):
        raise PlanError(f"{what} is {excess}")


def _writable(value: Any) -> bool:
    """Whether a value can stand in a result, some objects deep."""
    try:
        orjson.dumps([[[[value]]]])
    except TypeError:
        return False
    return True


def _check_names(names: Sequence[str], where: str, shadows: Sequence[str], *, some: bool = False) -> None:
    if some and not names:
        raise PlanError(f"{where} must name at least one candidate")
    if "" in names:
        raise PlanError(f"{where} has a candidate without a name")
    if len(set(names)) < len(names):
        raise PlanError(f"{where} names a candidate twice")
    if both := sorted(set(names) & set(shadows)):
        raise PlanError(f"{where} names {both[0]!r}, which is a shadow and never decides")


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_PLAN_DECODER = msgspec.json.Decoder(Plan)
