"""One command of Airflow, in a session of its own.

A task's process has its own process group, and an executor's worker outlives a killed scheduler: neither the tree of
parents nor the process group contains them all. The session does, because none of Airflow's processes leaves it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

POLL: Final = 0.05
"""Seconds between two checks of processes that are ending; chosen: short beside the time that they take."""


class Component:
    """One `python -m airflow …`, from `start()` to `stop_all()`; its output goes to `log`.

    :param name: name of the component and of its log file.
    :param arguments: arguments of the `airflow` command.
    :param env: its whole environment.
    :param home: its working directory, in which the log is written.
    """

    def __init__(self, name: str, arguments: Iterable[str], *, env: Mapping[str, str], home: Path) -> None:
        self.name = name
        self.log = home / f"{name}.log"
        self._command = [sys.executable, "-m", "airflow", *arguments]
        self._env = env
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the command."""
        # `python -m` puts the working directory first on the path: the caller's may hold an `airflow.py`.
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own arguments
                self._command,
                env=self._env,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id of the command, which is also the id of the session.

        :raises RuntimeError: before `start()`.
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while the command runs."""
        return self._process.poll() if self._process else None

    def members(self) -> list[int]:
        """Return the process ids of the session, without zombies."""
        return session_members(self.pid) if self._process else []

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the session."""
        for pid in self.members():
            _send(pid, number)

    def pause(self) -> None:
        """Stop all processes (SIGSTOP): like a hung machine, they keep their sockets open."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause()`."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill all processes of the session (SIGKILL), and return when none is left."""
        while self.members():
            self.signal(signal.SIGKILL)
            self.exit_code  # noqa: B018 - reaps the child
            time.sleep(POLL)

    # 15 s: chosen; Airflow grants a task 5 s after SIGTERM, and its components take some seconds more.
    def stop(self, grace_s: float = 15.0) -> None:
        """End the session with SIGTERM, and with SIGKILL after `grace_s` seconds."""
        stop_all([self], grace_s=grace_s)

    def tail(self, lines: int = 30) -> str:
        """Return the last `lines` lines of its output."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def stop_all(components: Iterable[Component], *, grace_s: float) -> None:
    """Send SIGTERM to all, and SIGKILL after `grace_s` seconds to those that still run."""
    components = list(components)
    for component in components:
        component.resume()
        component.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(component.members() for component in components) and time.monotonic() < deadline:
        for component in components:
            component.exit_code  # noqa: B018 - reaps the child
        time.sleep(POLL)
    for component in components:
        component.kill()


def session_members(session: int) -> list[int]:
    """Return the process ids of a session, without zombies."""
    import psutil  # type: ignore[import-untyped]

    return [pid for pid in psutil.pids() if _session_of(pid) == session and not _is_zombie(pid)]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _is_zombie(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
