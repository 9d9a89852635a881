"""docs/reference/policies.md and docs/reference/aggregations.md: the forms of plans and of features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from reference.forms import fields, form
from schemas.features import declarations as features
from schemas.plans import plan as plans

_POLICIES = """# Plans and policies

A plan says who is asked about a record, until when, and which policy decides; `millrace plan` checks and
publishes it. Made by `scripts/generate` from `schemas/plans/plan.py`. [speculate.md](../speculate.md) is the
design, [routes.md](../routes.md) says what routes and rules mean.

"""
_AGGREGATIONS = """# Features, windows and aggregations

What a feature view is declared of, in TOML, JSON, or by the classes of `millrace.views`. Made by
`scripts/generate` from `schemas/features/declarations.py`. [features.md](../features.md) is the design.
Aggregations of your own are classes, declared with `custom`: `examples/custom_aggregation.py` has one.

"""


def policies_page() -> str:
    """The whole document."""
    parts = [_POLICIES, form(plans.Plan, "A plan", 2), form(plans.Split, "Its experiment", 3)]
    parts += [form(plans.PlanArm, "An arm", 3), "## Routes\n", *_tagged(plans.Route, "route")]
    parts += [form(plans.Rule, "A rule of `rules`"), "## Policies\n"]
    parts += ["Each may have `otherwise`: the policy that decides where this one cannot.\n\n"]
    return "".join([*parts, *_tagged(plans.Policy, "policy")]).rstrip() + "\n"


def aggregations_page() -> str:
    """The whole document."""
    parts = [_AGGREGATIONS, "## Aggregations\nThe `of` of an `aggregate`.\n\n"]
    parts += [*_tagged(features.AggregateFunction, "function"), "## Windows\n"]
    parts += [*_tagged(features.Window, "window"), "## Features\n", *_tagged(features.Feature, "feature")]
    parts += ["## When a row leaves\n", *_tagged(features.Emission, "emit")]
    parts += ["## Steps before aggregation\n", *_tagged(features.Step, "step")]
    views = (
        (features.FeatureView, "A view"),
        (features.Source, "A source"),
        (features.Reference, "A reference"),
    )
    parts += [form(kind, title, 2) for kind, title in views]
    parts += ["## A column\n", f"{features.Column.__doc__}\n\n", fields(features.Column)]
    return "".join(parts).rstrip() + "\n"


def _tagged(union: Any, key: str) -> Iterable[str]:
    """Each form of a union, under the tag by which a declaration names it."""
    tagged = ((f'`{key} = "{kind.__struct_config__.tag}"`', kind) for kind in get_args(union))
    return (form(kind, title, without="otherwise" if key == "policy" else "") for title, kind in tagged)
