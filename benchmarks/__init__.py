"""Measurements, each beside its peer at the peer's best settings: `python -m benchmarks [NAME ...] [--json]`."""
