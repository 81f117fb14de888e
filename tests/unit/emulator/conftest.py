"""Fixtures: emulators over both stores, which must behave alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from airflow_batches.emulator import Emulator
from tests.unit.emulator.client import Client

Start = Callable[..., tuple[Emulator, Client]]
Eventually = Callable[[Callable[[], bool]], None]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(opened: ExitStack) -> Start:
    """Return a function that starts an emulator in memory with some settings, and a client for it."""

    def started(**settings: Any) -> tuple[Emulator, Client]:
        emulator = opened.enter_context(Emulator(**settings))
        client = Client(emulator)
        opened.callback(client.close)
        return emulator, client

    return started


@pytest.fixture(params=["memory", "folder"])
def start_kept(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Start:
    """Return the same function, once in memory and once in a folder."""
    if request.param == "memory":
        return start
    return lambda **settings: start(folder=tmp_path / "batches", **settings)


@pytest.fixture
def eventually() -> Eventually:
    """Return a function that waits until something holds, and fails after half a minute."""

    def wait(holds: Callable[[], bool]) -> None:
        deadline = monotonic() + 30
        while not holds():
            assert monotonic() < deadline, "it did not hold within 30 s"
            sleep(0.01)

    return wait


def emulator_threads() -> list[threading.Thread]:
    """The emulators' threads that this test has started: other tests of the process may keep an emulator."""
    begun = [thread for thread in threading.enumerate() if thread not in _before]
    return [thread for thread in begun if thread.name.startswith("emulator")]


_before: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _remember_threads() -> None:
    _before.clear()
    _before.update(threading.enumerate())
