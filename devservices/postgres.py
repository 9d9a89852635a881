"""A PostgreSQL server with an empty database, without passwords."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from devservices.process import Daemon, ServiceError, environment, free_port

_USER = "postgres"


class Postgres(Daemon):
    """`with Postgres() as server: sqlalchemy.create_engine(server.url)`."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"postgresql+psycopg://{_USER}@127.0.0.1:{self.port}/postgres"
        self._data = self.folder / "data"

    @staticmethod
    def available() -> bool:
        """Whether the server and its tools are installed."""
        return _program("postgres") is not None and _program("initdb") is not None

    def start(self) -> None:
        if not self.available():
            raise ServiceError("postgres and initdb were not found: install Debian's postgresql.")
        if not self._data.exists():
            self._data.mkdir()
            if os.geteuid() == 0:  # the server refuses to run as root
                self.folder.chmod(0o755)
                shutil.chown(self._data, _USER)
            self._initialise()
        where: list[str | Path] = ["-D", self._data, "-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        self.run(self._command("postgres", *where, "-c", "fsync=off"), self._answers)

    def _initialise(self) -> None:
        tool = self._command("initdb", "-D", self._data, "-U", _USER, "--auth=trust", "--encoding=UTF8")
        done = subprocess.run(list(map(str, tool)), capture_output=True, text=True, check=False, cwd="/")
        if done.returncode:
            raise ServiceError(f"PostgreSQL's data folder could not be made.\n{done.stdout}{done.stderr}")

    def _command(self, name: str, *arguments: str | Path) -> list[str | Path]:
        program = _program(name)
        assert program is not None
        other: list[str | Path] = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
        return [*(other if os.geteuid() == 0 else []), program, *arguments]

    def _answers(self) -> bool:
        ready = _program("pg_isready")
        assert ready is not None
        asked = [str(ready), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0


def _program(name: str) -> Path | None:
    """Debian keeps the server's programs apart from PATH, by version."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name, path=environment()["PATH"])
    return Path(found) if found else places[-1] if places else None
