"""Measurements of the project beside plain references, run from its root: python -m benchmarks.run"""
