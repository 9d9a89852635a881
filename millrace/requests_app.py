"""The REST endpoint that puts prediction requests on their topic: `POST /predict`, `GET /health`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

from confluent_kafka import KafkaException, Producer
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from millrace.requests_guard import RequestGuard
from schemas.errors import SourceError
from udfs.enrichment.submission import read_submission
from udfs.enrichment.wire import write_request

MOST_BYTES = 262_144

_quiet = logging.getLogger("millrace.kafka")
_quiet.addHandler(logging.NullHandler())  # what matters is answered
_quiet.propagate = False


class Sender:
    """A producer whose confirmations reach an event loop. A request is taken once the broker has it."""

    def __init__(self, bootstrap: str, topic: str, client: Mapping[str, str], timeout_s: float) -> None:
        """Raises `SourceError` for settings that the client refuses; connects to nothing."""
        settings = {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 2,
            "message.timeout.ms": int(timeout_s * 1000),
            "error_cb": lambda e: None,
            "logger": _quiet,
            **client,
        }
        self._topic = topic
        try:
            self._producer = Producer(settings)
        except (KafkaException, ValueError, TypeError) as e:
            raise SourceError(f"no Kafka client can be made for {bootstrap}: {e}") from e
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="confirmations", daemon=True)
        self._thread.start()

    async def send(self, key: bytes, value: bytes) -> str:
        """An empty text when the broker has the message, else why it has not."""
        loop = asyncio.get_running_loop()
        confirmed: asyncio.Future[str] = loop.create_future()

        def settle(why: str) -> None:
            if not confirmed.done():
                confirmed.set_result(why)

        def report(error: Any, _: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, "" if error is None else error.str())

        try:
            self._producer.produce(self._topic, value, key, on_delivery=report)
        except (BufferError, KafkaException) as e:
            return str(e)
        return await confirmed

    def close(self) -> None:
        """Wait for what is under way, up to its timeout."""
        self._producer.flush()
        self._over.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._over.is_set():
            self._producer.poll(0.1)


def make_app(sender: Sender, guard: RequestGuard | None = None) -> Starlette:
    """The application: POST of a request, which goes to a topic.

    It answers 202 with the request's id; 400 and 413 with the reason; 503 where Kafka did not take it in
    time; 401, 408, 415, 421 and 429 by the `guard`.
    """
    guard = guard or RequestGuard()

    async def predict(request: Request) -> Response:
        body = guard.refusal(request) or await _body(request, guard.limits.body_seconds)
        if isinstance(body, Response):
            return body
        try:
            asked = read_submission(body)
        except ValueError as e:
            return JSONResponse({"error": str(e)}, 400)
        why = await sender.send(asked.id.encode(), write_request(asked))
        if why:
            return JSONResponse({"id": asked.id, "error": f"Kafka did not take the request: {why}"}, 503)
        return JSONResponse({"id": asked.id}, 202)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "up"})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(sender.close)

    routes = [Route("/predict", predict, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lifespan)


async def _body(request: Request, seconds: float) -> bytes | Response:
    """What came, or the answer to what did not come whole."""
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    return JSONResponse({"error": f"a request has at most {MOST_BYTES} bytes"}, 413)
    except TimeoutError:
        return JSONResponse({"error": "the request did not come to its end"}, 408, {"connection": "close"})
    except ClientDisconnect:
        return Response(status_code=400)  # nobody hears it
    return bytes(body)
