"""An HTTP service's answer as values of a view's features."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import httpx
import orjson
from jmespath.exceptions import JMESPathError

from schemas.features.declarations import FeatureType
from udfs.stores.registry.base import OnDemand
from udfs.stores.registry.rules import compiled_paths

MOST_BYTES = 1_000_000
_LONGEST_REASON = 200
_NUMBER = (int, float)
_PYTHON: dict[FeatureType, tuple[type, ...]] = {
    FeatureType.INT64: (int,),
    FeatureType.FLOAT64: _NUMBER,
    FeatureType.BOOL: (bool,),
    FeatureType.STRING: (str,),
    FeatureType.TIMESTAMP: (int,),
    FeatureType.INT64_LIST: (int,),
    FeatureType.FLOAT64_LIST: _NUMBER,
    FeatureType.STRING_LIST: (str,),
}
_paths = lru_cache(maxsize=256)(compiled_paths)


class AnswerError(Exception):
    """Why there are no values: one short sentence, without the answer itself."""


def fetch(client: httpx.Client, url: str, question: bytes, left_s: Callable[[], float]) -> bytes:
    """The body of the answer to a POST of JSON. Raises `AnswerError`, httpx's errors. `left_s`: seconds until
    nobody waits for it any more; httpx itself bounds each read only, and not their sum."""
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",  # a short answer must not unpack to a long one
    }
    with client.stream("POST", url, content=question, headers=headers, timeout=left_s()) as response:
        if response.status_code != httpx.codes.OK:
            raise AnswerError(f"the service answered {response.status_code}")
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise AnswerError(f"the answer is encoded as {encoding[:40]!r}, and was asked for as it is")
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise AnswerError(f"the answer is longer than {MOST_BYTES:,} bytes")
            if left_s() <= 0:
                raise AnswerError("the answer did not end in time")
    return bytes(body)


def values_of(body: bytes, how: OnDemand, types: dict[str, FeatureType]) -> dict[str, Any]:
    """Feature -> value, None where the answer has none. Raises `AnswerError` for what is no JSON, has another
    type, or has none of the features at all."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise AnswerError(f"the answer is no JSON: {e}") from None
    found = {}
    for name, path in _paths(how.paths).items():
        try:
            found[name] = _typed(name, path.search(answer), types[name])
        except AnswerError:
            raise
        except JMESPathError as e:
            raise AnswerError(
                f"the path of {name} does not fit the answer: {str(e).splitlines()[0][:_LONGEST_REASON]}"
            ) from None
        except Exception as e:  # an answer may be anything, also too deep
            raise AnswerError(f"the path of {name} cannot be followed: {type(e).__name__}") from None
    if all(value is None for value in found.values()):
        raise AnswerError(f"the answer has none of {', '.join(found)}")
    return found


def _typed(name: str, value: Any, kind: FeatureType) -> Any:
    if value is None:
        return None
    allowed = _PYTHON[kind]
    listed = kind.value.endswith("_list")
    items = value if listed and isinstance(value, list) else [value]
    fits = isinstance(value, list) is listed and all(
        isinstance(item, allowed) and (bool in allowed or not isinstance(item, bool)) for item in items
    )
    if fits and int in allowed and float not in allowed:
        fits = all(-(2**63) <= item < 2**63 for item in items)
    if not fits:
        raise AnswerError(f"{name} is no {kind.value} but {type(value).__name__}")
    if float in allowed:
        return [float(item) for item in items] if listed else float(value)
    return value
