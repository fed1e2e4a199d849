from __future__ import annotations

import os

import pytest

from tests.invariant.command import CommandServer


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    server = CommandServer(tmp_path_factory.mktemp("command"))
    yield server
    server.close()
