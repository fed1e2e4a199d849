"""Inference: talking to a run, a model or an adapter."""
