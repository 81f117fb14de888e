"""Ours beside its peers, in one run. Run each with `python -m benchmarks.<name>`."""
