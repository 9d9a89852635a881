"""Secrets by reference: `${env:NAME}` and `${file:PATH}` in a setting are looked up where the value is used,
so that neither the command line, nor the job that is submitted, nor its pickled operators hold it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from schemas.errors import SettingsError

_REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}")
_LONGEST = 65_536


def resolved(text: str) -> str:
    """The text with what its references stand for; a file's without the line end after it.

    Raises `SettingsError` where a variable or a file is missing, in this process.

    >>> os.environ["MILLRACE_EXAMPLE"] = "b"
    >>> resolved("a${env:MILLRACE_EXAMPLE}c")
    'abc'
    """
    return _REFERENCE.sub(_value, text)


def refers(text: str) -> bool:
    """Whether there is anything to look up."""
    return _REFERENCE.search(text) is not None


def for_kafka(client: dict[str, str], provider: str) -> dict[str, str]:
    """Properties of Kafka's Java clients whose references the clients themselves look up, by the providers
    of configuration in the Java package `provider`. Others come back as they are."""
    if not any(map(refers, client.values())):
        return client
    made = {name: _REFERENCE.sub(_of_kafka, value) for name, value in client.items()}
    return made | {
        "config.providers": "env,directory",
        "config.providers.env.class": f"{provider}.EnvVarConfigProvider",
        "config.providers.directory.class": f"{provider}.DirectoryConfigProvider",
    }


def _value(found: re.Match[str]) -> str:
    kind, name = found.groups()
    if kind == "env":
        if name not in os.environ:
            raise SettingsError(f"the environment has no variable {name}, to which a setting refers")
        return os.environ[name]
    try:
        with Path(name).open(encoding="utf-8") as file:
            return file.read(_LONGEST).removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is no text"
        raise SettingsError(f"the file {name}, to which a setting refers, cannot be read: {why}") from None


def _of_kafka(found: re.Match[str]) -> str:
    kind, name = found.groups()
    if kind == "env":
        return f"${{env:{name}}}"
    folder, _, file = name.rpartition("/")
    return f"${{directory:{folder or '/'}:{file}}}"
