"""A folder: batches survive the emulator, however it ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from airflow_batches.emulator import Emulator
from tests.unit.emulator.client import Client, line, lines
from tests.unit.emulator.conftest import Start
from tests.unit.emulator.processes import Program


def test_batches_their_results_and_the_clock_survive_a_restart(tmp_path: Path, start: Start) -> None:
    with Emulator(folder=tmp_path, processing_time=3600, incremental_counts=True, cancel_time=60) as before:
        client = Client(before)
        ended, canceling, running, deleted = (client.made(lines(20)) for _ in range(4))
        before.end(ended)
        before.archive(deleted)
        before.clock.advance(1800)
        client.cancel(canceling)
        client.delete(deleted)
        results = client.read(ended)
        listed = before.batches()
        client.close()
    emulator, client = start(folder=tmp_path)
    assert [batch["id"] for batch in emulator.batches()] == [running, canceling, ended]
    assert [without_url(batch) for batch in emulator.batches()] == [without_url(batch) for batch in listed]
    assert client.read(ended) == results
    emulator.clock.advance(1800)
    assert client.get(running).json()["request_counts"]["succeeded"] == 20
    assert client.get(canceling).json()["request_counts"] == {
        "processing": 0,
        "succeeded": 10,
        "errored": 0,
        "canceled": 10,
        "expired": 0,
    }
    newest = client.made(lines(1))
    assert client.list(limit=1).json()["first_id"] == newest


def without_url(batch: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in batch.items() if name != "results_url"}


def test_batches_survive_a_kill(tmp_path: Path, start: Start) -> None:
    with Program("--folder", str(tmp_path)) as program:
        client = Client(program)
        batch = client.made([line("a"), line("b", stream=True)])
        results = client.read(batch)
        client.close()
        os.kill(program.process.pid, signal.SIGKILL)
        program.process.wait()
    _, client = start(folder=tmp_path)
    assert client.read(batch) == results


def test_a_create_that_never_came_to_its_end_leaves_nothing(tmp_path: Path, start: Start) -> None:
    for name in ("msgbatch_01x.lines", "msgbatch_01y.json.part", "msgbatch_01y.lines"):
        (tmp_path / name).write_bytes(b"torn")
    emulator, _ = start(folder=tmp_path)
    assert emulator.batches() == []
    assert list(tmp_path.glob("msgbatch_*")) == []


def test_deleted_batches_leave_no_file(tmp_path: Path, start: Start) -> None:
    _, client = start(folder=tmp_path)
    client.delete(client.made(lines(1)))
    assert list(tmp_path.glob("msgbatch_*")) == []


def test_a_folder_belongs_to_one_emulator_at_a_time(tmp_path: Path, start: Start) -> None:
    start(folder=tmp_path)
    with pytest.raises(BlockingIOError):
        Emulator(folder=tmp_path)


def test_an_emulator_that_cannot_start_lets_the_folder_go(tmp_path: Path, start: Start) -> None:
    with Emulator() as other, pytest.raises(OSError, match="in use"):
        Emulator(other.port, folder=tmp_path)
    emulator, _ = start(folder=tmp_path)
    assert emulator.batches() == []
