"""Hashing and whole-or-not-at-all writing."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from fakestormer import files
from fakestormer.errors import InputError
from fakestormer.files import held, sha256_of, write_atomically


def test_sha256_of(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    for unreadable in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            sha256_of(unreadable)


def test_a_file_is_written_whole_or_stays_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="no space left") as refused:
        write_atomically(path, b"third")
    assert refused.value.filename == str(path)
    assert path.read_bytes() == b"second"
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_what_is_held_is_held_once_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "r.json"
    with held(target, "detect"):
        (lock,) = target.parent.iterdir()
        with held(target.with_name("other.json"), "detect"):
            assert len(list(target.parent.iterdir())) == 2
        sentence = r"r\.json: another detect is writing to it; wait for it, or name another file"
        with pytest.raises(InputError, match=sentence), held(target, "detect"):
            pytest.fail("two at once")
        assert lock.exists()
    assert list(tmp_path.iterdir()) == []
    # What a killed process leaves, which the system no longer locks.
    target.parent.mkdir(parents=True)
    lock.touch()
    with held(target, "detect"):
        target.touch()
    assert list(target.parent.iterdir()) == [target]


def test_a_lock_that_is_removed_as_we_get_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder ended between our opening of the file and our locking of it."""
    target, flock, calls = tmp_path / "r.json", fcntl.flock, []

    def slow(file: object, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:
            for lock in tmp_path.iterdir():
                lock.unlink()
        flock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(files.fcntl, "flock", slow)
    with held(target, "detect"):
        assert len(calls) == 2
        with pytest.raises(InputError, match="another detect"), held(target, "detect"):
            pytest.fail("two at once")


def test_without_locks_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", unknown)
    with held(tmp_path / "r", "detect"), held(tmp_path / "r", "detect"):
        pass
    monkeypatch.setattr(files, "fcntl", None)
    with held(tmp_path / "r", "detect"), held(tmp_path / "r", "detect"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_cannot_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "r.json", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be written"), held(target, "detect"):
            pytest.fail("held")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
