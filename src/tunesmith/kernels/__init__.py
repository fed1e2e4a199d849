"""Kernels: the ops that tunesmith runs in place of a model's own, each beside its plain reference."""
