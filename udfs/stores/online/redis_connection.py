"""How Redis is reached, and what becomes of its errors: which are waited out, and which cannot be."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis import ConnectionPool
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)

from schemas.errors import SettingsError, StoreError
from udfs.io.references import resolved
from udfs.stores.online.base import RedisOptions

_PASSING = frozenset({"MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY", "MISCONF", "LOADING"})
"""Codes of errors that end by themselves: failover, a long script, a full disk under a snapshot."""

_HINTS = {
    "MOVED": "It is a node of a Redis Cluster, which is not supported: give a single server or its proxy.",
    "WRONGTYPE": "The key holds something that is no hash: give Millrace a database or a project of its own.",
    "NOPERM": "The user needs EVAL, EVALSHA, HGET, HSET, HLEN, HMGET and PEXPIREAT on these keys.",
    "OOM": "Give Redis more memory, or a policy that evicts (maxmemory-policy).",
}


def pool(options: RedisOptions) -> ConnectionPool:
    """Connections by these options; none is made before the first is asked for.

    Raises `SettingsError` for a URL that cannot be read, a file that is not there, or TLS files without TLS.
    """
    tls = {
        "ssl_ca_certs": options.ca_file,
        "ssl_certfile": options.certificate_file,
        "ssl_keyfile": options.key_file,
    }
    given = {name: file for name, file in tls.items() if file}
    arguments: dict[str, Any] = {
        "socket_timeout": options.timeout_s,
        "socket_connect_timeout": options.timeout_s,
        "socket_keepalive": True,
    }
    if options.username:
        arguments["username"] = resolved(options.username)
    if options.password:
        arguments["password"] = resolved(options.password)
    if options.url.startswith("rediss://"):
        arguments |= {"ssl_check_hostname": True, **given}
    elif given:
        raise SettingsError("TLS files are given for a Redis URL without TLS: write rediss://HOST:PORT/DB")
    for file in given.values():
        if not Path(file).is_file():
            raise SettingsError(f"there is no TLS file {file} for Redis")
    try:
        return ConnectionPool.from_url(resolved(options.url), **arguments)
    except ValueError:  # whose message may hold a part of the password
        raise SettingsError(
            "the Redis URL cannot be read: write redis[s]://[USER:PASSWORD@]HOST:PORT/DB, with "
            "special characters of the password percent-encoded"
        ) from None


@contextlib.contextmanager
def connection(connections: ConnectionPool) -> Iterator[Any]:
    """A connection for requests and answers in the raw. After an error it is closed, since answers may still
    be under way on it."""
    held = connections.get_connection()
    try:
        yield held
    except BaseException:
        held.disconnect()
        raise
    finally:
        connections.release(held)


def is_away(error: BaseException) -> bool:
    """Whether waiting may mend it. A wrong password or certificate does not mend, though redis-py counts the
    one among connection errors and hides the other in one."""
    if isinstance(error, AuthenticationError | AuthorizationError) or _distrust(error):
        return False
    if isinstance(error, ConnectionError | TimeoutError | ReadOnlyError | NoScriptError):
        return True
    return isinstance(error, RedisError) and _code(error) in _PASSING


def refusal(error: RedisError, what: str) -> StoreError:
    """What cannot be mended by waiting, in words."""
    return StoreError(f"Redis refuses {what}: {error}. {_HINTS.get(_code(error), '')}".rstrip())


def _code(error: RedisError) -> str:
    """The first word of Redis' answer, which redis-py takes off where it has a class for it."""
    if isinstance(error, OutOfMemoryError):
        return "OOM"
    return "NOPERM" if isinstance(error, NoPermissionError) else str(error).partition(" ")[0]


def _distrust(error: BaseException | None) -> bool:
    """Whether TLS failed over a certificate, of either side."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and "CERTIFICATE" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
