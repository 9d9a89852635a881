"""The `millrace` command. Each subcommand has its own file; what is heavy is imported when it is used."""

from __future__ import annotations

import os
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import millrace
from millrace.check_consistency import check_consistency
from millrace.check_model import check_model
from millrace.experiment import experiment
from millrace.explain import explain
from millrace.features import features
from millrace.history import history
from millrace.keygen import keygen
from millrace.models import models
from millrace.models_alias import models_alias
from millrace.models_at import models_at
from millrace.models_compare import models_compare
from millrace.models_history import models_history
from millrace.models_list import models_list
from millrace.models_write_back import models_write_back
from millrace.on_alert import on_alert
from millrace.plan import plan
from millrace.profile import profile
from millrace.publish import publish
from millrace.quality import quality
from millrace.replay_dead_letters import replay_dead_letters
from millrace.replay_policy import replay_policy
from millrace.score import score
from millrace.serve_requests import serve_requests
from millrace.statistics import statistics
from millrace.tail import tail
from millrace.terminal import escaping
from millrace.unpublish import unpublish
from millrace.verify import verify
from schemas.errors import MillraceError, ModelError, PlanError
from schemas.extras import what_to_install
from udfs.models.python_holes import check_python


class OneSentence(TyperGroup):
    """A group whose errors are one sentence on stderr and exit code 1; usage errors stay as they are (2)."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an error of the tree is one sentence, and what is printed is escaped."""
        with escaping():
            return self._invoke(ctx)

    def _invoke(self, ctx: Any) -> Any:
        try:
            check_python()
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as e:
            # Usage errors, whichever click raised them, know their exit code; a closed pipe is typer's.
            if hasattr(e, "exit_code") or isinstance(e, BrokenPipeError):
                raise
            if os.environ.get("MILLRACE_DEBUG"):
                traceback.print_exc()
            typer.echo(_sentence(e), err=True)
            raise typer.Exit(1) from e


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, PlanError):
        return f"The plan is refused: {text}"
    if isinstance(error, ModelError):
        return f"The model is refused at the step {error.step!r}: {text}"
    if isinstance(error, MillraceError):
        return f"Error: {text}"
    if missing := what_to_install(error):
        return f"Error: {missing}"
    return f"Unexpected {type(error).__name__}: {text} (MILLRACE_DEBUG=1 shows where)"


app = typer.Typer(
    name="millrace",
    cls=OneSentence,
    help="Publish models to a stream, see which ones serve and how well, and watch results.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"millrace {millrace.__version__}")
        raise typer.Exit


@app.callback()
def _before_any(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and end."),
    ] = False,
) -> None:
    """Publish models to a stream, see which ones serve and how well, and watch results."""


of_models = typer.Typer(rich_markup_mode=None)
of_models.callback(invoke_without_command=True)(models)
of_models.command("list")(models_list)
of_models.command("at")(models_at)
of_models.command("history")(models_history)
of_models.command("compare")(models_compare)
of_models.command("alias")(models_alias)
of_models.command("write-back")(models_write_back)

app.command("publish", short_help="Check a model and publish it.")(publish)
app.command("unpublish", short_help="Take a data type's model back.")(unpublish)
app.command("keygen", short_help="Make a key to sign models and plans with.")(keygen)
app.command("verify", short_help="Check the signature of a model or plan.")(verify)
app.command("check-model", short_help="Check a model as a job would, without publishing.")(check_model)
app.command("score", short_help="Score a file of records with a model.")(score)
app.command("explain", short_help="Show who scored a result, and score it again.")(explain)
app.command("profile", short_help="Summarise a training file, for drift and bins.")(profile)
app.command("on-alert", short_help="Run a command when alerts come.")(on_alert)
app.command("statistics", short_help="List windows of statistics, or add them up.")(statistics)
app.command("plan", short_help="Check and publish a plan for several models.")(plan)
app.add_typer(of_models, name="models", short_help="Show which models serve, now and in the past.")
app.command("tail", short_help="Show results as they come.")(tail)
app.command("quality", short_help="Count stored predictions against their outcomes.")(quality)
app.command("replay-policy", short_help="Decide recorded results by another plan.")(replay_policy)
app.command("replay-dead-letters", short_help="Send dead letters' records once more.")(replay_dead_letters)
app.command("check-consistency", short_help="Compare what is stored of views with history.")(
    check_consistency
)
app.command("history", short_help="List the history of a view, or delete its oldest.")(history)
app.command("serve-requests", short_help="Take prediction requests by HTTP.")(serve_requests)
app.add_typer(features, name="features", short_help="Register feature views and what reads them.")
app.add_typer(experiment, name="experiment", short_help="Start, watch and end experiments.")


def main() -> None:
    """Run the command `millrace`."""
    app(prog_name="millrace")


if __name__ == "__main__":
    main()
