"""Ctrl-C, SIGTERM and kill -9 of `airflow-batches run` and `cancel`, and what a person sees in a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable

import pytest

from airflow_batches.emulator import Fault
from tests.unit.jobs.program import FOREVER, Terminal, read_until, until
from tests.unit.jobs.test_run import numbered


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_cancels_nothing_and_the_same_command_goes_on(
    terminal: Terminal, number: signal.Signals, exit_code: int
) -> None:
    process = terminal.begin_waiting()
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == exit_code
    assert "Nothing is canceled. Batches under way: 2, with 10 requests. They go on at the API" in said
    assert "airflow-batches run requests.jsonl answers --max-requests 5 --poll-interval 40\n" in said
    assert f"airflow-batches cancel file://{terminal.job}\n" in said
    assert "Traceback" not in said
    assert terminal.statuses == {"in_progress"}
    terminal.let_batches_end()
    done = terminal.run("--max-requests", "5")
    assert done.returncode == 0, done.stderr
    assert terminal.ids == sorted(numbered(10))
    assert len(terminal.emulator.batches()) == 2


def test_ctrl_c_during_a_step_stops_after_it(terminal: Terminal) -> None:
    held = terminal.emulator.fault(Fault(endpoint="create", action="slow", bytes_per_second=300))
    process = terminal.begin("--max-requests", "5", "--poll-interval", "0.05")
    until(lambda: held.struck > 0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "Stopping after this step. Nothing is canceled" in said
    assert "Batches under way: 1, with 5 requests" in said
    assert terminal.ledger["pending"] is None
    assert terminal.ledger["lease"] is None
    assert terminal.run("--max-requests", "5").returncode == 0
    assert len(terminal.emulator.batches()) == 2


def test_a_second_ctrl_c_stops_at_once_and_the_batch_is_found_again(terminal: Terminal) -> None:
    held = terminal.emulator.fault(Fault(endpoint="create", action="stall", after_bytes=1, seconds=60))
    process = terminal.begin("--poll-interval", "0.05")
    until(lambda: held.struck > 0)
    process.send_signal(signal.SIGINT)
    read_until(process, "Stopping")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "The create of shard 0 has no answer; the next run searches for its batch" in said
    done = terminal.run()
    assert done.returncode == 0, done.stderr
    assert len(terminal.emulator.batches()) == 1


def test_a_killed_run_goes_on_when_its_lease_has_expired(terminal: Terminal) -> None:
    process = terminal.begin_waiting()
    process.kill()
    process.communicate()
    status = terminal.call("status", "answers").stdout
    assert "holds it until" in status
    terminal.let_batches_end()
    terminal.let_lease_expire()
    done = terminal.run("--max-requests", "5")
    assert done.returncode == 0, done.stderr
    assert terminal.ids == sorted(numbered(10))
    assert len(terminal.emulator.batches()) == 2


def test_an_interrupted_cancel_keeps_its_cancels_and_goes_on_later(terminal: Terminal) -> None:
    run = terminal.begin_waiting()
    terminal.emulator.configure(cancel_time=1_000)
    process = terminal.begin_command("cancel", "answers", "--poll-interval", "40")
    read_until(process, "until canceled batches end")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "Cancels that the API confirmed stay. Batches under way: 2 (2 are canceling), with 10 requests" in said
    assert f"airflow-batches cancel file://{terminal.job}\n" in said
    assert terminal.statuses == {"canceling"}
    terminal.emulator.clock.advance(1_000)
    done = terminal.call("cancel", "answers")
    assert done.returncode == 0, done.stderr
    assert "10 canceled; they stay in _job/landed" in done.stdout
    run.kill()
    run.communicate()


# A terminal


def seen_by_a_person(terminal: Terminal, then: Callable[[subprocess.Popen[str], bytes], None]) -> tuple[int, str]:
    """Run a job in a pseudo-terminal; `then` is called after each part of the output.

    :return: the exit code, and everything that was written.
    """
    ours, theirs = pty.openpty()
    process = terminal.begin("--max-requests", "5", "--poll-interval", "0.5", stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65_536):
            seen += part
            then(process, seen)
    except OSError:  # how Linux ends a terminal whose other side is closed
        pass
    finally:
        os.close(ours)
    process.communicate()
    return process.returncode, seen.decode()


def test_a_terminal_sees_a_live_table_that_goes_when_the_job_is_done(terminal: Terminal) -> None:
    terminal.emulator.configure(processing_time=FOREVER)

    def then(process: subprocess.Popen[str], seen: bytes) -> None:
        if b"2 under way" in seen:
            terminal.let_batches_end()

    exit_code, seen = seen_by_a_person(terminal, then)
    assert exit_code == 0
    assert "0 of 10 answered" in seen
    assert "0 landed, 2 under way, 0 unsent (round 1)" in seen
    assert "projected" in seen
    table, _, after = seen.rpartition("\x1b[2K")
    assert "under way" in table
    assert "under way" not in after
    assert "published  file://" in after


def test_ctrl_c_in_a_terminal_ends_the_table_and_says_how_to_go_on(terminal: Terminal) -> None:
    terminal.emulator.configure(processing_time=FOREVER)

    def then(process: subprocess.Popen[str], seen: bytes) -> None:
        if b"Waiting up to" in seen:  # pressed again and again while the program ends
            process.send_signal(signal.SIGINT)

    exit_code, seen = seen_by_a_person(terminal, then)
    assert exit_code == 130
    assert "Batches under way: 2, with 10 requests" in seen.rpartition("\x1b[2K")[2]
    assert terminal.ledger["lease"] is None
