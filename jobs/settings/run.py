"""What every job has settings for, and how settings are read: a TOML file, the environment and flags.

Flags win over `MILLRACE_...` variables, those over the file. `python jobs/serve.py --help` lists them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableSettings

from schemas.errors import SettingsError

S = TypeVar("S", bound="RunSettings")


MOST_SECONDS = 10**10
"""Some 300 years. In ms, and added to a time, it is far from what Flink can count."""


class _Bounded(BaseModel):
    """Settings whose numbers are finite and whose durations, in seconds or ms, a timer of Flink can have."""

    model_config = ConfigDict(allow_inf_nan=False)

    @model_validator(mode="after")
    def _no_ages(self) -> Self:
        for name in type(self).model_fields:
            unit = next((u for u in ("seconds", "ms") if name == u or name.endswith(f"_{u}")), None)
            most, value = MOST_SECONDS * (1000 if unit == "ms" else 1), getattr(self, name)
            if unit and isinstance(value, int | float) and value > most:
                raise ValueError(f"{name} is {value:g}: {most:,} are the most")
        return self


class Part(_Bounded):
    """Settings below one name; names that are none of theirs are refused."""

    model_config = ConfigDict(extra="forbid")


class RunSettings(BaseSettings, _Bounded):
    """How a job is run. `own_jars`: patterns of the connectors that it needs where there is no cluster;
    `own_options`: Flink options that it is made for, unless `flink` says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="MILLRACE_", env_nested_delimiter="__", extra="forbid", cli_kebab_case=True
    )
    own_jars: ClassVar[tuple[str, ...]] = ("flink-*.jar", "millrace-*.jar")
    own_options: ClassVar[dict[str, str]] = {}

    name: str = Field("millrace", description="the job's name")
    bounded: bool = Field(False, description="end when what is there now has been scored")
    mode: Literal["thread", "process"] = Field("thread", description="Flink's Python execution mode")
    parallelism: int | None = Field(
        None, ge=1, le=32_768, description="empty: as the cluster or `flink run -p` says"
    )
    checkpoint_seconds: float | None = Field(None, gt=0, description="empty: as the cluster says")
    jars: Path | None = Field(None, description="where scripts/setup put jars; for runs without a cluster")
    flink: dict[str, str] = Field({}, repr=False, description="any Flink option")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


def settings_of(kind: type[S], arguments: list[str]) -> S:
    """The settings, of this kind, of a run. `--config FILE` or `MILLRACE_CONFIG` names a TOML file.

    Raises `SettingsError`, with every fault.
    """
    file = os.environ.get("MILLRACE_CONFIG")
    if "--config" in arguments:
        at = arguments.index("--config")
        if at + 1 >= len(arguments):
            raise SettingsError("--config needs the path of a TOML file")
        file = arguments[at + 1]
        arguments = arguments[:at] + arguments[at + 2 :]
    if file and not Path(file).is_file():
        raise SettingsError(f"there is no settings file {file}")

    class Configured(kind):  # type: ignore[misc, valid-type]
        __doc__ = kind.__doc__
        model_config = SettingsConfigDict(toml_file=file or None)

    try:
        flags = CliSettingsSource[S](Configured, cli_prog_name=Path(sys.argv[0]).name)
        return Configured(_cli_settings_source=flags(args=arguments))
    except UnreadableSettings as e:
        raise SettingsError(str(e)) from None
    except ValidationError as e:
        faults = (f"{'.'.join(map(str, f['loc'])) or 'settings'}: {f['msg']}" for f in e.errors())
        raise SettingsError("; ".join(faults)) from None
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as e:  # TOML's own error, bytes that are no text, long numbers
        raise SettingsError(f"{file} cannot be read as TOML: {e}") from None
