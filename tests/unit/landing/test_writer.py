"""Objects are written completely or not at all."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_batches.landing import LandingError, LandingRefused, Location
from airflow_batches.landing.local_file import WRITE_BACK_BYTES
from airflow_batches.landing.writer import create, put
from tests.unit.landing.support import names_in


def at(path: Path) -> Location:
    return Location.parse(f"file://{path}")


def in_a_process(script: str) -> str:
    """Run a script and return its standard error."""
    imports = "from airflow_batches.landing import Location; from airflow_batches.landing.writer import create, put\n"
    run = subprocess.run([sys.executable, "-c", imports + script], capture_output=True, text=True, check=False)
    return run.stderr


def test_nothing_is_at_the_name_before_the_commit_and_everything_after_it(tmp_path: Path) -> None:
    file = create(at(tmp_path / "out"))
    file.write(b"one ")
    file.write(b"two")
    file.finish()
    assert not (tmp_path / "out").exists()
    file.commit()
    assert (tmp_path / "out").read_bytes() == b"one two"
    assert names_in(tmp_path) == {"out"}


def test_bytes_written_back_early_are_all_there(tmp_path: Path) -> None:
    blocks = [bytes([number]) * (WRITE_BACK_BYTES // 3 + number) for number in range(10)]
    file = create(at(tmp_path / "out"))
    for block in blocks:
        file.write(block)
    file.finish()
    file.commit()
    assert (tmp_path / "out").read_bytes() == b"".join(blocks)


def test_a_discarded_file_leaves_nothing_and_the_old_object_stays(tmp_path: Path) -> None:
    put(at(tmp_path / "out"), b"old")
    file = create(at(tmp_path / "out"))
    file.write(b"new")
    file.discard()
    assert (tmp_path / "out").read_bytes() == b"old"
    assert names_in(tmp_path) == {"out"}


def test_a_file_that_cannot_be_removed_is_reported_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    open_files = len([*Path("/proc/self/fd").iterdir()])
    file = create(at(tmp_path / "out"))
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(LandingError, match=r"discarding .*Read-only"):
        file.discard()
    assert len([*Path("/proc/self/fd").iterdir()]) == open_files


def test_two_writers_of_one_object_do_not_mix(tmp_path: Path) -> None:
    first, second = create(at(tmp_path / "out")), create(at(tmp_path / "out"))
    first.write(b"first")
    second.write(b"second")
    second.finish()
    second.commit()
    first.finish()
    first.commit()
    assert (tmp_path / "out").read_bytes() == b"first"
    assert names_in(tmp_path) == {"out"}


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    in_a_process(
        f"create(Location.parse('file://{tmp_path}/[o]ut')).write(b'part')\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert len(names_in(tmp_path)) == 1
    living = create(at(tmp_path / "[o]ut"))
    put(at(tmp_path / "[o]ut"), b"whole")
    assert len(names_in(tmp_path)) == 2  # the object, and the hidden file of the live writer
    living.discard()
    assert names_in(tmp_path) == {"[o]ut"}


def test_a_full_disk_publishes_nothing_and_is_worth_a_retry(tmp_path: Path) -> None:
    """A limit on file sizes simulates a full disk: the same call fails in the same way."""
    said = in_a_process(
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"put(Location.parse('file://{tmp_path}/out'), b'x' * 5000)"
    )
    assert f"LandingError: writing file://{tmp_path}/out failed: OSError: [Errno 27] File too large" in said
    assert not names_in(tmp_path)


def test_a_path_below_a_file_is_refused() -> None:
    with pytest.raises(LandingRefused, match="writing file:///proc/out"):
        create(at(Path("/proc/out")))


def test_a_moved_object_that_is_discarded_leaves_nothing() -> None:
    location = Location.parse("memory://discarded/out")
    file = create(location)
    file.write(b"part")
    file.discard()
    assert location.version() is None
    assert location.fs.ls("/discarded") == []  # type: ignore[attr-defined]
