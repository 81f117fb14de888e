"""A real Airflow for a few minutes: scheduler, triggerer, DAG processor, API server, in a home that is gone afterwards.

- Nothing of the caller's own Airflow is read or touched, nothing listens beyond 127.0.0.1.
- Whatever ends the `with` block (its end, an exception, Ctrl-C, SIGTERM, SIGHUP), no process and no file is left.

Measured on two cores, SQLite: healthy after 10 s.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from airflow_batches.demo.component import Component, stop_all
from airflow_batches.demo.environment import LOOPBACK, Connections, private_environment
from airflow_batches.demo.interruptions import Interruptions
from airflow_batches.demo.rest import AirflowApi, AirflowFailed

PARTS: Final = ("metadatabase", "scheduler", "dag_processor", "triggerer")
"""What the health call tells of."""

Progress = Callable[[str], None]


def _say_nothing(_: str) -> None:
    return


class PrivateAirflow:
    """`with PrivateAirflow(dags=[file]) as airflow: airflow.api.trigger("my_dag")`; the files are copied.

    `connections` are `{conn_id: fields}`, `settings` `{"SECTION__OPTION": value}`. `database_url` is SQLAlchemy's, of
    an empty database; without one it is SQLite in the home. `on_progress` is told, in a few words each, what is done.
    Raises AirflowFailed when a process dies at the start, or is not healthy within `start_timeout` seconds.
    """

    def __init__(
        self,
        *,
        dags: Sequence[Path],
        connections: Connections | None = None,
        settings: Mapping[str, str] | None = None,
        database_url: str | None = None,
        start_timeout: float = 180.0,
        stop_patience: float = 3.0,
        on_progress: Progress = _say_nothing,
    ) -> None:
        self.home = Path()
        self.components: list[Component] = []
        self.triggerers: list[Component] = []
        self._dags = dags
        self._connections = connections
        self._settings = settings
        self._database_url = database_url
        self._start_timeout = start_timeout
        self._stop_patience = stop_patience
        self._on_progress = on_progress
        self._interruptions = Interruptions()
        self._env: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._interruptions.__enter__()
        try:
            self._start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._leave()

    def held(self) -> AbstractContextManager[None]:
        """What is run in here is run to its end, whatever interrupts the demo."""
        return self._interruptions.held()

    def _leave(self) -> None:
        try:
            with self._interruptions.held():
                stop_all(self.components, patience=self._stop_patience)
                if self.home != Path():
                    shutil.rmtree(self.home)
        finally:
            self._interruptions.__exit__(None, None, None)

    def _start(self) -> None:
        port = free_port()
        with self._interruptions.held():
            self.home = Path(tempfile.mkdtemp(prefix="airflow-batches-"))
        self._env = private_environment(
            os.environ,
            self.home,
            port=port,
            dags=self._copy_dags(),
            database_url=self._database_url,
            connections=self._connections,
            settings=self._settings,
        )
        self.api = AirflowApi(f"http://{LOOPBACK}:{port}")
        self._make_database()
        # The API server is the slowest to come up.
        self.start("api-server")
        self.start("dag-processor")
        self.start("scheduler", "--skip-serve-logs")
        self.start_triggerer()
        self._await_health()
        self.api.log_in()

    def start(self, *arguments: str, name: str | None = None) -> Component:
        """Run one more command of Airflow in this home, until it is stopped or the Airflow is."""
        component = Component(name or arguments[0], arguments, env=self._env, home=self.home)
        with self._interruptions.held():
            component.start()
            self.components.append(component)
        return component

    def start_triggerer(self) -> Component:
        """A triggerer beside those that run; more than one needs a database other than SQLite."""
        # Its log server would listen on every interface, and serve what the API server reads from disk anyway.
        triggerer = self.start("triggerer", "--skip-serve-logs", name=f"triggerer-{len(self.triggerers) + 1}")
        self.triggerers.append(triggerer)
        return triggerer

    def _copy_dags(self) -> Path:
        folder = self.home / "dags"
        folder.mkdir()
        for file in self._dags:
            shutil.copy(file, folder)
        return folder

    def _make_database(self) -> None:
        migration = self.start("db", "migrate", name="db-migrate")
        self._until(lambda: migration.exit_code is not None, "made no database")
        if migration.exit_code:
            raise AirflowFailed(f"Airflow could not make its database:\n{migration.tail()}")
        self.components.remove(migration)
        self._on_progress("database")

    def _await_health(self) -> None:
        healthy: set[str] = {"metadatabase"}

        def all_healthy() -> bool:
            self.check_alive()
            found = {name for name, status in self.api.health().items() if status == "healthy" and name in PARTS}
            for name in sorted(found - healthy):
                self._on_progress(name.replace("_", " "))
            healthy.update(found)
            return found.issuperset(PARTS)

        self._until(all_healthy, "was not healthy")

    def check_alive(self) -> None:
        """Raises AirflowFailed, with the end of the log, when one of the processes has ended by itself."""
        for component in self.components:
            if component.exit_code is not None:
                raise AirflowFailed(f"Airflow's {component.name} has ended:\n{component.tail()}")

    def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + self._start_timeout
        while not condition():
            if time.monotonic() > deadline:
                tails = "\n".join(f"--- {component.name}\n{component.tail(8)}" for component in self.components)
                raise AirflowFailed(f"Airflow {complaint} within {self._start_timeout:.0f} s:\n{tails}")
            time.sleep(0.1)


def free_port() -> int:
    """Return a free port of the loopback."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
