"""The registry's database: reached by URL, its schema made by the first writer and checked by everybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, make_url, select, update
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from schemas.errors import RegistryError, StoreError
from udfs.io.references import resolved
from udfs.stores.registry import model_tables  # noqa: F401 - METADATA has its tables too
from udfs.stores.registry.tables import METADATA, READABLE, SCHEMA, SCHEMA_VERSION

_TIMEOUT_S = 5


class Database:
    """SQLite (a file) or PostgreSQL. No connection is kept: the registry is asked seldom."""

    def __init__(self, url: str) -> None:
        """Raises `RegistryError` for a URL that names neither. Connects to nothing."""
        try:
            self._url = make_url(resolved(url))
            kind = self._url.get_backend_name()
            if kind not in ("sqlite", "postgresql") or (kind == "sqlite" and not self._url.database):
                raise ArgumentError("neither")
            waiting = {"timeout" if kind == "sqlite" else "connect_timeout": _TIMEOUT_S}
            self._engine: Engine = create_engine(self._url, poolclass=NullPool, connect_args=waiting)
        except (ArgumentError, NoSuchModuleError, ImportError):
            raise RegistryError(
                "the registry's URL must be sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
            ) from None
        if kind == "sqlite":
            event.listen(self._engine, "connect", _leave_transactions_to_us)
            event.listen(self._engine, "begin", _begin)

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads. Raises `RegistryError` where there is no registry."""
        if self._engine.name == "sqlite" and not Path(str(self._url.database)).is_file():
            raise self._absent()
        with self._told(), self._engine.begin() as connection:
            if not inspect(connection).has_table(SCHEMA.name):
                raise self._absent()
            self._check(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes, one at a time; makes the schema where it is not there."""
        with self._told():
            try:
                self._make()
            except (IntegrityError, ProgrammingError):
                self._make()  # another one was making it at the same moment
            with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                self._check(connection)
                yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _make(self) -> None:
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            METADATA.create_all(connection)
            found = connection.execute(select(SCHEMA.c.version)).scalar()
            if found is None:
                connection.execute(insert(SCHEMA).values(version=SCHEMA_VERSION))
            elif found in READABLE and found != SCHEMA_VERSION:  # only tables were added
                connection.execute(update(SCHEMA).values(version=SCHEMA_VERSION))

    def _check(self, connection: Connection) -> None:
        asked = select(SCHEMA.c.version)
        # PostgreSQL: this row is the lock of all writers. SQLite has locked the file when the writing began.
        writes = connection.get_execution_options().get("writes")
        found = connection.execute(asked.with_for_update() if writes else asked).scalar()
        if found not in ({SCHEMA_VERSION} if writes else READABLE):
            raise RegistryError(
                f"the registry at {self} has schema {found}; this release knows {SCHEMA_VERSION}: use "
                "the release that wrote it"
            )

    def _absent(self) -> RegistryError:
        return RegistryError(
            f"there is no registry at {self}: `millrace features apply`, `millrace publish --registry` and "
            "jobs/track.py make it, or correct the URL"
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as e:
            reason = " ".join(str(getattr(e, "orig", None) or e).split())
            raise StoreError(f"the registry at {self} cannot be used: {reason}") from e


def _leave_transactions_to_us(connection: Any, _: Any) -> None:
    # The driver would begin a transaction at the first change only: what was read before could be outdated.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
