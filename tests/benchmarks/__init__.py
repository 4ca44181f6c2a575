"""Benchmarks: our functions against their peers, on the same inputs, results compared first.

``python -m tests.benchmarks`` runs them all; see `tests.benchmarks.__main__`.
"""
