"""A process of Airflow and all that it starts: found, paused, ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from airflow_batches.demo.component import Component, session_members, stop_all

# In the place of `python -m airflow`: a family whose child has a process group of its own, as a task's process has.
FAMILY = """
import os, signal, sys, time
{prelude}
if os.fork() == 0:
    os.setpgid(0, 0)
print("ready", flush=True)
time.sleep(600)
"""
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Component]]:
    started: list[Component] = []

    def start_family(prelude: str = "") -> Component:
        home = tmp_path / f"home-{len(started)}"
        (home / "airflow").mkdir(parents=True)
        (home / "airflow" / "__init__.py").touch()
        (home / "airflow" / "__main__.py").write_text(FAMILY.format(prelude=prelude))
        component = Component("family", ["ignored"], env=dict(os.environ), home=home)
        started.append(component)
        component.start()
        until(lambda: component.tail().count("ready") == 2 or component.exit_code is not None)
        return component

    yield start_family
    for component in started:
        component.kill()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_the_session_holds_what_the_process_group_does_not(start: Callable[..., Component]) -> None:
    component = start()
    groups = {os.getpgid(pid) for pid in component.members()}
    assert len(component.members()) == 2
    assert len(groups) == 2
    assert os.getpid() not in component.members()


def test_stopping_ends_the_whole_family(start: Callable[..., Component]) -> None:
    component = start()
    component.stop()
    assert component.members() == []
    assert component.exit_code == -signal.SIGTERM


def test_who_does_not_listen_is_killed(start: Callable[..., Component]) -> None:
    component = start(DEAF)
    component.stop(grace_s=0.2)
    assert component.members() == []
    assert component.exit_code == -signal.SIGKILL


def test_all_are_stopped_at_once_even_those_that_are_paused(start: Callable[..., Component]) -> None:
    components = [start(), start()]
    components[0].pause()
    stop_all(components, grace_s=20)
    assert [component.exit_code for component in components] == [-signal.SIGTERM] * 2


def test_children_whose_parent_died_are_ended_too(start: Callable[..., Component]) -> None:
    component = start()
    os.kill(component.pid, signal.SIGKILL)
    until(lambda: component.exit_code is not None)
    assert len(component.members()) == 1
    component.stop()
    assert session_members(component.pid) == []


def test_a_paused_component_stands_still_until_it_is_resumed(start: Callable[..., Component]) -> None:
    def states() -> set[str]:
        return {psutil.Process(pid).status() for pid in component.members()}

    component = start()
    component.pause()
    until(lambda: states() == {psutil.STATUS_STOPPED})
    component.resume()
    until(lambda: psutil.STATUS_STOPPED not in states())


def test_the_tail_is_the_end_of_what_it_said(start: Callable[..., Component]) -> None:
    component = start("print('one'); print('two', flush=True); sys.exit(3)")
    assert component.exit_code == 3
    assert component.tail(1) == "two"


def test_a_component_that_was_not_started_has_nothing_to_stop(tmp_path: Path) -> None:
    component = Component("never", [], env={}, home=tmp_path)
    component.stop()
    assert (component.exit_code, component.members(), component.tail()) == (None, [], "")
    with pytest.raises(RuntimeError, match="never was not started"):
        component.pid  # noqa: B018


def test_it_runs_the_interpreter_we_run_in(start: Callable[..., Component]) -> None:
    assert start("print(sys.executable, flush=True)").tail().splitlines()[0] == sys.executable
