"""A task whose tries are processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerProcess
from typing import Any, Final

import psutil  # type: ignore[import-untyped]

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator
from tests.e2e.tries.one_try import PRELOADED, RETRIES, Try, run, stored_record
from tests.records import state_of

FORKS: Final = multiprocessing.get_context("forkserver")
# pytest, because a child imports what its parent was started as.
FORKS.set_forkserver_preload([*PRELOADED, "pytest"])
PATIENCE_S: Final = 60.0
"""What a test may wait for: a try takes a second or two."""


@dataclass
class Process:
    """A leg of a try under way."""

    spec: Try
    process: ForkServerProcess

    @property
    def log(self) -> str:
        """What it has logged, and its traceback."""
        path = self.spec.path.with_suffix(".log")
        return path.read_text() if path.exists() else ""

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive()

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def is_stopped(self) -> bool:
        assert self.is_alive, self.log
        return bool(psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)

    def exit_code(self) -> int:
        self.process.join(PATIENCE_S)
        assert self.process.exitcode is not None, self.log
        return self.process.exitcode

    def result(self) -> dict[str, Any]:
        """What a leg that comes to its end has come to."""
        assert self.exit_code() == 0, self.log
        result: dict[str, Any] = json.loads(self.spec.path.with_suffix(".json").read_text())
        return result

    def failure(self) -> str:
        """The log of a leg that fails."""
        assert self.exit_code() == 1, self.log
        return self.log

    def wakes(self) -> str:
        """Go on after a stop, to the end; its log."""
        self.signal(signal.SIGCONT)
        self.exit_code()
        return self.log


@dataclass
class Task:
    """A task on an emulator whose batches take hours; each `try_` is the next try."""

    emulator: Emulator
    spec: Try
    processes: list[Process] = field(default_factory=list)

    def try_(self, **changes: Any) -> Process:
        """Begin the next try."""
        self.spec = replace(self.spec, number=self.spec.number + 1)
        return self._start(replace(self.spec, **changes))

    def _start(self, spec: Try) -> Process:
        process = FORKS.Process(target=run, args=(spec,), daemon=True)
        process.start()
        self.processes.append(Process(spec, process))
        return self.processes[-1]

    def clear(self) -> None:
        """Ask for another run of the task, as a person does."""
        self.spec = replace(self.spec, max_tries=self.spec.number + RETRIES)

    def dies(self, at: str, **changes: Any) -> None:
        """A try that is killed at a point."""
        process = self.try_(at=at, **changes)
        assert process.exit_code() == -signal.SIGKILL, process.log

    def dies_when(self, moment: Callable[[], object], **changes: Any) -> None:
        """A try that is killed from outside."""
        process = self.try_(**changes)
        wait_until(lambda: moment() or not process.is_alive)
        assert process.is_alive, process.log
        process.signal(signal.SIGKILL)
        process.exit_code()

    def stops(self, at: str, **changes: Any) -> Process:
        """A try that is stopped at a point."""
        process = self.try_(at=at, signal=signal.SIGSTOP, **changes)
        wait_until(process.is_stopped)
        return process

    def stops_in_the_next_leg(self, process: Process, event: Mapping[str, Any], at: str) -> Process:
        """A deferred try whose next leg, which its trigger's event begins, is stopped at a point."""
        method, kwargs = process.result()["resumes"]
        resumes = (method, {**kwargs, "event": event})
        leg = self._start(replace(process.spec, resumes=resumes, at=at, signal=signal.SIGSTOP))
        wait_until(leg.is_stopped)
        return leg

    def stops_when(self, moment: Callable[[], object], **changes: Any) -> Process:
        """A try that is stopped from outside."""
        process = self.try_(**changes)
        wait_until(lambda: moment() or not process.is_alive)
        process.signal(signal.SIGSTOP)
        wait_until(process.is_stopped)
        return process

    def submits(self, **changes: Any) -> str:
        """The batch of a try, which is resumed as often as it defers; the batch that it waits for ends."""
        return self.resumes(self.try_(**changes))

    def resumes(self, process: Process) -> str:
        """The batch of a try that goes on from a leg."""
        while "resumes" in (result := process.result()):
            if batch_id := result["deferred_on"]:
                assert batch_id in self.batch_ids
                self.emulator.end(batch_id)
            process = self._start(replace(process.spec, resumes=tuple(result["resumes"])))
        return str(result["batch_id"])

    def fails(self, **changes: Any) -> str:
        """The log of a try that fails."""
        return self.try_(**changes).failure()

    def end(self) -> None:
        """Leave no process."""
        for process in self.processes:
            if process.is_alive:
                process.signal(signal.SIGKILL)
            process.exit_code()

    @property
    def batch_ids(self) -> list[str]:
        """Newest first."""
        return [batch["id"] for batch in self.emulator.batches()]

    @property
    def canceled(self) -> list[str]:
        return [batch["id"] for batch in self.emulator.batches() if batch["cancel_initiated_at"]]

    @property
    def record(self) -> Any:
        return stored_record(self.spec)

    @property
    def state(self) -> str:
        """What the record says."""
        return state_of(self.record)

    def client(self) -> BatchesClient:
        return BatchesClient(self.emulator.api_key, base_url=self.emulator.url)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
