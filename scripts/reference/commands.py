"""docs/reference/commands.md: what each command's --help says."""

from __future__ import annotations

from typing import Any

import typer

from millrace.cli import app

_HEAD = """# Commands

`millrace COMMAND --help`, of all commands. Made by `scripts/generate` from `millrace/`.

"""
_WIDTH = 100


def commands_page() -> str:
    """The whole document."""
    root = typer.main.get_command(app)
    return _HEAD + "\n".join(_pieces(root, "millrace", None))


def _pieces(command: Any, name: str, parent: Any) -> list[str]:
    width = {"terminal_width": _WIDTH, "max_content_width": _WIDTH}
    context = command.context_class(command, info_name=name, parent=parent, **width)
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    found = [f"## {context.command_path}\n```text\n{help_text}\n```\n"]
    for inner, one in getattr(command, "commands", {}).items():
        found += _pieces(one, inner, context)
    return found
