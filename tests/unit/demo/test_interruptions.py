"""Signals become exceptions, at moments of our own choosing."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from airflow_batches.demo.interruptions import SIGNALS, Interruptions


def interrupt(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_ctrl_c_is_a_keyboard_interrupt() -> None:
    with Interruptions(), pytest.raises(KeyboardInterrupt):
        interrupt(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_ended_is_an_exit_with_the_code_a_shell_expects(number: signal.Signals) -> None:
    with Interruptions(), pytest.raises(SystemExit) as exit_:
        interrupt(number)
    assert exit_.value.code == 128 + number


def test_what_is_held_runs_to_its_end_before_the_interruption_is_raised() -> None:
    done = []

    def work(interruptions: Interruptions) -> None:
        with interruptions.held():
            with interruptions.held():
                interrupt(signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("never")

    with Interruptions() as interruptions, pytest.raises(SystemExit):
        work(interruptions)
    assert done == ["inner", "outer"]


def test_an_interruption_is_raised_once() -> None:
    with Interruptions() as interruptions:
        with pytest.raises(KeyboardInterrupt), interruptions.held():
            interrupt(signal.SIGINT)
        with interruptions.held():
            pass


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruptions():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_outside_of_the_main_thread_it_stays_out_of_the_way() -> None:
    seen: list[object] = []

    def enter() -> None:
        with Interruptions() as interruptions, interruptions.held():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
