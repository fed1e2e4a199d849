"""The mark of tests that take minutes: left out unless they are asked for, as `make test-slow` does."""

from __future__ import annotations

import os

import pytest

slow = pytest.mark.skipif(
    os.environ.get("TUNESMITH_SLOW") != "1", reason="takes minutes; `make test-slow` runs it"
)
