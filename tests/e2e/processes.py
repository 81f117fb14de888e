"""A command in a process of its own, and whatever came of it.

Its family is known by what is inherited: a mark in the environment, or, where a server has written its title over
that, a working directory among the command's temporary files.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

MARK = "END_TO_END_TEST"


@dataclass
class Program:
    """`airflow-batches …`, its temporary files in `scratch` alone, its output in a file."""

    process: subprocess.Popen[bytes]
    mark: str
    scratch: Path
    log: Path

    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, *, timeout: float = 240) -> None:
        """Until it has said so."""
        deadline = time.monotonic() + timeout
        while text not in self.output():
            assert self.process.poll() is None, f"it ended without {text!r}:\n{self.output()}"
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output()}"
            time.sleep(0.1)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def family(self) -> list[psutil.Process]:
        """All living processes that came of it, itself included, wherever they hang in the tree."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            marked = process.environ().get(MARK) == self.mark
            return marked or Path(process.cwd()).is_relative_to(self.scratch)
        except psutil.Error:
            return False

    def listeners(self) -> set[str]:
        """The addresses its family listens on."""
        return {
            connection.laddr.ip
            for process in self.family()
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }


@contextmanager
def program(folder: Path, *arguments: str, **environment: str) -> Iterator[Program]:
    """Start `airflow-batches` in an empty folder; it is killed with all its family if the block leaves it running."""
    mark, scratch, log = uuid.uuid4().hex, folder / "scratch", folder / "output.txt"
    scratch.mkdir()
    (folder / "empty").mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow_batches.cli", *arguments],
            cwd=folder / "empty",
            env={**os.environ, MARK: mark, "TMPDIR": str(scratch), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Program(process, mark, scratch, log)
    try:
        yield running
    finally:
        for member in running.family():
            member.kill()
        process.wait()
