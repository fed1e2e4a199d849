"""What stands where a file is to be written stays, unless it is a file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from tunesmith.data.writing import must_be_free, must_be_ordinary, written_whole
from tunesmith.errors import InputError

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other kinds of files")


def write(path: Path) -> None:
    with written_whole(path) as file:
        file.write(b"new")


def refusal(path: Path) -> str:
    """What all three say; and that nothing was touched."""
    before = os.lstat(path).st_mode, os.lstat(path).st_ino
    said = set()
    for ask in (must_be_ordinary, write, lambda path: must_be_free(path, overwrite=True)):
        with pytest.raises(InputError) as caught:
            ask(path)
        said.add(str(caught.value))
    assert (os.lstat(path).st_mode, os.lstat(path).st_ino) == before
    (sentence,) = said
    return sentence


@posix
def test_a_pipe_a_socket_and_a_folder_are_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("folder").mkdir()
    Path("link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        remedy = "expected the name of a file to write. Write to a file, and send that on when it is whole."
        assert refusal(Path("pipe")) == f"pipe is a pipe; {remedy}"
        assert refusal(Path("link")) == f"link is a pipe; {remedy}"
        assert refusal(Path("socket")) == f"socket is a socket; {remedy}"
    assert refusal(Path("folder")) == "folder is a folder; expected the name of a file to write."
    assert sorted(os.listdir()) == ["folder", "link", "pipe", "socket"]


@posix
@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK])
def test_a_device_is_not_replaced(tmp_path, monkeypatch, kind):
    path = tmp_path / "null"
    path.write_bytes(b"old")
    look = Path.stat

    def as_a_device(self: Path, **how: bool) -> os.stat_result:
        found = look(self, **how)
        return os.stat_result((kind | 0o666, *found[1:])) if self == path else found

    monkeypatch.setattr(Path, "stat", as_a_device)
    assert "null is a device; expected the name of a file" in refusal(path)
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system has no such names")
def test_the_name_of_an_open_file_is_no_file_to_replace(tmp_path):
    with (tmp_path / "out.txt").open("wb") as file:  # what /dev/stdout is behind `> out.txt`
        name = Path(f"/proc/self/fd/{file.fileno()}")
        assert "the system's name for what is open already; expected the name of a file" in refusal(name)
    assert os.listdir(tmp_path) == ["out.txt"]


@posix
def test_a_link_stays_and_the_file_it_names_is_written(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk" / "file")
    for _ in range(2):  # a file that is not there yet, and one that is
        write(link)
        assert link.is_symlink() and (tmp_path / "disk" / "file").read_bytes() == b"new"
    with pytest.raises(InputError, match="already there"):
        must_be_free(link, overwrite=False)
    assert os.listdir(tmp_path / "disk") == ["file"]


@pytest.mark.parametrize("name", ["x" * 5000, "nul\0"])
def test_a_name_that_no_file_can_have_is_told(tmp_path, name):
    with pytest.raises(InputError, match="cannot be written: "):
        must_be_ordinary(tmp_path / name)
