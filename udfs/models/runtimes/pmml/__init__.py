"""The PMML runtime."""
