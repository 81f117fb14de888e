"""A real Airflow for a few minutes, in a temporary home.

- It has a scheduler, a triggerer, a DAG processor and an API server.
- It neither reads nor changes the caller's own Airflow, and listens on 127.0.0.1 only.
- However the `with` block ends (normally, an exception, Ctrl-C, SIGTERM, SIGHUP), no process and no file is left.

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
"""The parts that the health call reports and that must be healthy."""

Progress = Callable[[str], None]


def _say_nothing(_: str) -> None:
    return


class PrivateAirflow:
    """An Airflow that runs during a `with` block.

        with PrivateAirflow(dags=[Path("my_dag.py")]) as airflow:
            airflow.api.wait_for_dag("my_dag")
            run_id = airflow.api.trigger("my_dag")
            assert airflow.api.wait_for_run("my_dag", run_id) == "success"

    :param dags: DAG files, which are copied.
    :param connections: `{conn_id: fields}`, with the fields of Airflow's connection JSON; none by default.
    :param settings: `{"SECTION__OPTION": value}`, which override `environment.SETTINGS`.
    :param database_url: SQLAlchemy URL of an empty database; None: SQLite in the home.
    :param start_timeout: seconds until everything must be healthy. Chosen: many times the 10 s measured.
    :param grace_s: seconds between SIGTERM and SIGKILL at the end. Chosen: nothing of it is needed then.
    :param on_progress: called with the name of each part that is ready.
    :raises AirflowFailed: when a process ends during the start, or something is not healthy in time.
    """

    def __init__(
        self,
        *,
        dags: Sequence[Path],
        connections: Connections | None = None,
        settings: Mapping[str, str] | None = None,
        database_url: str | None = None,
        start_timeout: float = 180.0,
        grace_s: float = 3.0,
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
        self._grace_s = grace_s
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
        """Postpone signals until the end of the block."""
        return self._interruptions.held()

    def _leave(self) -> None:
        try:
            with self._interruptions.held():
                stop_all(self.components, grace_s=self._grace_s)
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
        # The API server takes longest to start.
        self.start("api-server")
        self.start("dag-processor")
        self.start("scheduler", "--skip-serve-logs")
        self.start_triggerer()
        self._await_health()
        self.api.log_in()

    def start(self, *arguments: str, name: str | None = None) -> Component:
        """Start another command of Airflow in this home; it is stopped with it at the latest."""
        component = Component(name or arguments[0], arguments, env=self._env, home=self.home)
        with self._interruptions.held():
            component.start()
            self.components.append(component)
        return component

    def start_triggerer(self) -> Component:
        """Start another triggerer; more than one needs a database other than SQLite."""
        # Its log server would listen on every interface, and the API server reads the logs from disk.
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
        """Raise AirflowFailed, with the end of the log, if one of the processes has ended."""
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
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
