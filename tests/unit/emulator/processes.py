"""The emulator as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Final, Self

MODULE: Final = (sys.executable, "-m", "airflow_batches.emulator")
COMMAND: Final = (sys.executable, "-m", "airflow_batches.cli", "emulator")
ANY_PORT: Final = ("--port", "0")


class Program:
    """The program on any free port and with these flags, ended with the block; batches end at once by default."""

    api_key = "sk-ant-emulator"

    def __init__(self, *flags: str, command: tuple[str, ...] = MODULE) -> None:
        usual = (*ANY_PORT, "--processing-time", "0")
        self.process = subprocess.Popen(
            [*command, *usual, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if self.process.stdout is None or self.process.stderr is None:
            raise AssertionError("both are pipes")
        self._out, self._err = self.process.stdout, self.process.stderr
        self.first_line = self._out.readline().rstrip("\n")
        self.url = self.first_line.removeprefix("listening on ")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)
        self._out.close()
        self._err.close()

    def lines(self, count: int) -> list[str]:
        """Return the next `count` lines of stdout."""
        return [self._out.readline().rstrip("\n") for _ in range(count)]

    def stop(self, number: int) -> tuple[int, str, str]:
        """Send a signal; return the exit code and the rest of stdout and stderr."""
        self.process.send_signal(number)
        return self.process.wait(30), self._out.read(), self._err.read()
