"""ONNX: a ModelProto scored by ONNX Runtime on the CPU."""

from udfs.runtimes.onnx.runtime import load

__all__ = ["load"]
