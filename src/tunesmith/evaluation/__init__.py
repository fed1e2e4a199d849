"""Evaluation: side by side, with numbers."""
