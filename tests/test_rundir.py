"""Folders of the run folder: whole and on the disk, or as they were."""

import os

import pytest

from tunesmith.rundir import folder_written_whole


def test_every_file_is_flushed_through_a_handle_that_may_write(tmp_path, monkeypatch):
    """What Windows asks of a flush; elsewhere any handle would do."""
    fcntl = pytest.importorskip("fcntl")
    may_write = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: may_write.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_RDWR)
    )
    with folder_written_whole(tmp_path / "whole") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_bytes(b"a")
        (folder / "b").write_bytes(b"b")
    assert may_write.count(os.O_RDWR) == 2


def test_files_that_may_only_be_read_are_taken_too(tmp_path):
    with folder_written_whole(tmp_path / "whole") as folder:
        (folder / "a").write_bytes(b"a")
        (folder / "a").chmod(0o444)
    assert (tmp_path / "whole" / "a").read_bytes() == b"a"
