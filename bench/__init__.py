"""Benchmarks: one workload, measured from outside, for the jobs, a bare loop and other stream processors."""
