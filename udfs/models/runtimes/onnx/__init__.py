"""The ONNX runtime: files read before anything runs them, and ONNX Runtime's sessions on the CPU.

ONNX Runtime is imported where a model is loaded, never at import.
"""
