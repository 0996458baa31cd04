"""Benchmarks: each prints its table; see README.md."""
