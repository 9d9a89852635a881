"""Which extra of the package brings a module that is imported only where it is used."""

from __future__ import annotations

from collections.abc import Mapping

EXTRAS: Mapping[str, str] = {
    "cryptography": "signing",
    "datasketches": "features",
    "duckdb": "features",
    "fastavro": "avro",
    "grpc_tools": "protobuf",
    "httpx": "features",
    "jmespath": "features",
    "keras": "tensorflow",
    "mmh3": "features",
    "numba": "pmml",
    "onnxruntime": "onnx",
    "pandas": "features",
    "py4j": "pmml",
    "pyarrow": "features",
    "pydantic_settings": "jobs",
    "pyflink": "jobs",
    "pypmml": "pmml",
    "redis": "features",
    "sqlalchemy": "features",
    "starlette": "http",
    "tenacity": "features",
    "tensorflow": "tensorflow",
    "tensorflow_metadata": "tensorflow-metadata",
    "uvicorn": "http",
}
"""Top-level module -> the extra that pyproject.toml lists it in."""


def what_to_install(error: BaseException) -> str:
    """One sentence for an import that failed for want of an extra; empty for any other error."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    extra = EXTRAS.get(error.name.split(".")[0])
    if extra is None:
        return ""
    return f"{error.name} is not installed: pip install 'millrace[{extra}]'"
