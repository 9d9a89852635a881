"""Hold a service open until a signal comes, as the commands in deploy/ do."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from devservices.process import Service, ServiceError

S = TypeVar("S", bound=Service)


def hold(name: str, make: Callable[[], S], announce: Callable[[S], None]) -> None:
    """Start what `make` gives, announce it, and end it at Ctrl-C or SIGTERM."""
    # A stop from outside must also leave by the with-block.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with make() as service:
            announce(service)
            try:
                signal.pause()
            except KeyboardInterrupt:
                # A second signal, which `timeout` and impatient people send, must not cut the end short.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except KeyboardInterrupt:
        sys.exit(f"{name}: stopped while starting")
    except ServiceError as failure:
        sys.exit(f"{name}: {failure}")
