"""The pages of docs/reference/, made from the code that they are about; `scripts/generate` writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reference.commands import commands_page
from reference.declarations import aggregations_page, policies_page
from reference.results import results_page
from reference.settings import settings_page

PAGES: Mapping[str, tuple[Callable[[], str], str]] = {
    "docs/reference/settings.md": (settings_page, "jobs/settings/"),
    "docs/reference/results.md": (results_page, "schemas/results/ and schemas/lifecycle/"),
    "docs/reference/commands.md": (commands_page, "millrace/"),
    "docs/reference/policies.md": (policies_page, "schemas/plans/plan.py"),
    "docs/reference/aggregations.md": (aggregations_page, "schemas/features/declarations.py"),
}
"""Where each page goes -> what makes it, and of what."""
