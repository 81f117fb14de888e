"""What becomes of a batch whose task waits deferred, when a user or a machine ends the waiting.

Two triggerers on PostgreSQL, with Airflow's own times: one that has said nothing for 30 s is replaced.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.emulator import Emulator
from tests.e2e.postgres import postgres

pytestmark = pytest.mark.e2e

LONG, SHORT, BLOCKS, REACTS = "waits_long", "waits_short", "waits_on_worker", "react_to_any_batch"
EXAMPLE = Path(__file__).parents[2] / "example_dags" / f"{REACTS}.py"


def until(condition: Callable[[], Any], *, timeout: float = 120.0) -> Any:
    """What the condition gives, as soon as it gives something."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)
    return found


@dataclass
class Wait:
    """A run of one of the DAGs."""

    airflow: PrivateAirflow
    emulator: Emulator
    dag_id: str
    run_id: str

    @property
    def task(self) -> dict[str, Any]:
        (instance,) = self.airflow.api.task_instances(self.dag_id, self.run_id)
        return instance

    @property
    def batch_id(self) -> str:
        """Empty until the task has pushed it."""
        return self.airflow.api.xcom(self.dag_id, self.run_id, "batch", "batch_id") or ""

    @property
    def batch_status(self) -> str:
        found = [batch for batch in self.emulator.batches() if batch["id"] == self.batch_id]
        return str(found[0]["processing_status"])

    @property
    def triggerer(self) -> int | None:
        """The job id of the triggerer that runs its trigger; None without one."""
        trigger = self.task["trigger"]
        return trigger["triggerer_id"] if trigger else None

    def log(self, files: str = "*.log*") -> str:
        """Of all tries and legs."""
        folder = self.airflow.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        return "\n".join(path.read_text() for path in sorted(folder.rglob(files)))

    def until_deferred(self) -> Wait:
        """Until its trigger polls, which it says in a log of its own; the worker says so before it."""
        until(lambda: "is in_progress: 3 processing" in self.log("*.trigger.*"))
        return self

    def mark(self, state: str) -> None:
        path = f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/batch"
        self.airflow.api.call("PATCH", path, json={"new_state": state})

    def clear(self) -> None:
        body = {
            "dry_run": False,
            "dag_run_id": self.run_id,
            "task_ids": ["batch"],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.airflow.api.call("POST", f"/api/v2/dags/{self.dag_id}/clearTaskInstances", json=body)


class Sink(ThreadingHTTPServer):
    """Takes whatever OpenTelemetry sends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.taken: list[bytes] = []


class Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Sink)
        self.server.taken.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Batches go on until they are ended."""
    with Emulator(processing_time=3600.0, cancel_time=3600.0, retry_after=0) as running:
        yield running


@pytest.fixture(scope="module")
def metrics() -> Iterator[Sink]:
    with Sink() as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        yield sink
        sink.shutdown()


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example lands every batch that ends."""
    return tmp_path_factory.mktemp("landed")


@pytest.fixture(scope="module")
def reacts(tmp_path_factory: pytest.TempPathFactory, landed: Path) -> Path:
    """The example of an asset's watcher: in a hurry, and in a folder of this test."""
    changes = {"/tmp/airflow-batches": str(landed), "poll_interval=60": "poll_interval=2"}
    source = EXAMPLE.read_text()
    for old, new in changes.items():
        assert source.count(old) == 1
        source = source.replace(old, new)
    file = tmp_path_factory.mktemp("dags") / EXAMPLE.name
    file.write_text(source)
    return file


@pytest.fixture(scope="module")
def airflow(emulator: Emulator, metrics: Sink, reacts: Path) -> Iterator[PrivateAirflow]:
    """An Airflow with one triggerer."""
    settings = {
        "METRICS__OTEL_ON": "True",
        "METRICS__OTEL_HOST": "127.0.0.1",
        "METRICS__OTEL_PORT": str(metrics.server_port),
        "METRICS__OTEL_INTERVAL_MILLISECONDS": "2000",
    }
    connection = {"conn_type": "anthropicbatches", "host": emulator.url, "password": emulator.api_key}
    with (
        postgres() as url,
        PrivateAirflow(
            dags=[Path(__file__).parent / "dags" / "waits.py", reacts],
            connections={"anthropic_default": connection},
            settings=settings,
            database_url=url,
        ) as running,
    ):
        for dag_id in (LONG, SHORT, BLOCKS, REACTS):
            running.api.wait_for_dag(dag_id)
        yield running


@pytest.fixture(scope="module")
def waits(airflow: PrivateAirflow, emulator: Emulator) -> dict[str, Wait]:
    """All waits of this file, under way at once."""
    dags = {"overdue": SHORT, "failed": LONG, "cleared": LONG, "handed over": LONG}
    begun = {name: Wait(airflow, emulator, dag_id, airflow.api.trigger(dag_id)) for name, dag_id in dags.items()}
    return {name: wait.until_deferred() for name, wait in begun.items()}


def test_marked_failed_the_batch_is_canceled_however_slow_airflow_answers(waits: dict[str, Wait]) -> None:
    """The triggerer's first question to Airflow is this kill's, and that one takes seconds."""
    wait = waits["failed"]
    wait.mark("failed")
    until(lambda: wait.batch_status == "canceling")
    until(lambda: "cancel requested (the task is failed)" in wait.log())


@pytest.fixture(scope="module")
def watching(airflow: PrivateAirflow, emulator: Emulator) -> None:
    """The watcher of the example is at work. It asks Airflow too, and the kill before must be the first to do so."""
    looks = emulator.counters["list"]
    airflow.api.call("PATCH", f"/api/v2/dags/{REACTS}", json={"is_paused": False})
    until(lambda: emulator.counters["list"] > looks + 1)


@pytest.mark.usefixtures("watching")
def test_cleared_the_batch_goes_on_and_the_next_try_takes_it_up(waits: dict[str, Wait], emulator: Emulator) -> None:
    wait = waits["cleared"]
    batch_id, batches = wait.batch_id, len(emulator.batches())
    wait.clear()
    until(lambda: "not over: batch" in wait.log())
    until(lambda: wait.task["try_number"] == 2 and wait.task["state"] == "deferred")
    assert wait.batch_id == batch_id
    assert len(emulator.batches()) == batches
    emulator.end(batch_id)
    assert wait.airflow.api.wait_for_run(LONG, wait.run_id) == "success"
    assert wait.batch_status == "ended"


@pytest.mark.parametrize(
    ("end", "said"),
    [("mark", "the task is failed"), ("clear", "The task was killed, but is")],
    ids=["failed", "cleared"],
)
def test_a_task_that_blocks_its_worker_is_killed_likewise(
    airflow: PrivateAirflow, emulator: Emulator, end: str, said: str
) -> None:
    wait = Wait(airflow, emulator, BLOCKS, airflow.api.trigger(BLOCKS))
    until(lambda: "Submitted 3 requests" in wait.log())
    batch_id = until(lambda: wait.batch_id)
    if end == "mark":
        wait.mark("failed")
        until(lambda: wait.batch_status == "canceling")
    else:
        wait.clear()
        until(lambda: wait.task["try_number"] == 2 and "Re-attached to batch" in wait.log())
        until(lambda: wait.batch_id == batch_id)
        assert wait.batch_status == "in_progress"
        emulator.end(batch_id)
        assert airflow.api.wait_for_run(BLOCKS, wait.run_id) == "success"
    assert said.lower() in wait.log().lower()


def test_when_its_time_is_over_the_batch_is_canceled(waits: dict[str, Wait]) -> None:
    wait = waits["overdue"]
    assert wait.airflow.api.wait_for_run(SHORT, wait.run_id) == "failed"
    assert wait.batch_status == "canceling"
    assert "the timeout has passed" in wait.log()


def test_what_is_counted_while_waiting_reaches_airflows_metrics(waits: dict[str, Wait], metrics: Sink) -> None:
    for name in ("waiting", "polls", "ended", "wait_time"):
        metric = f"airflow.airflow_batches.{name}".encode()
        until(lambda metric=metric: any(metric in body for body in metrics.taken))  # type: ignore[misc]


def test_a_triggerer_that_hung_and_was_replaced_cancels_nothing_when_it_comes_back(
    waits: dict[str, Wait], airflow: PrivateAirflow, emulator: Emulator
) -> None:
    wait = waits["handed over"]
    looks = emulator.counters["list"]
    until(lambda: emulator.counters["list"] > looks + 1)  # the watcher has stored what it told
    first = wait.triggerer
    airflow.start_triggerer()
    hung = airflow.triggerers[0]
    hung.pause()
    paused = time.monotonic()
    until(lambda: wait.triggerer not in (first, None))
    until(lambda: time.monotonic() > paused + 40)
    hung.resume()
    until(lambda: f"The task is deferred, not over: batch {wait.batch_id} goes on" in wait.log())
    assert wait.batch_status == "in_progress"
    assert wait.task["state"] == "deferred"


def test_a_triggerer_that_dies_is_replaced_and_the_task_completes(
    waits: dict[str, Wait], airflow: PrivateAirflow, emulator: Emulator
) -> None:
    wait = waits["handed over"]
    second = wait.triggerer
    dead = airflow.triggerers[1]
    dead.kill()
    airflow.components.remove(dead)
    emulator.end(waits["failed"].batch_id)
    until(lambda: wait.triggerer not in (second, None))
    emulator.end(wait.batch_id)
    assert airflow.api.wait_for_run(LONG, wait.run_id) == "success"
    assert wait.batch_status == "ended"
    assert emulator.counters["cancel"] == 3


def test_an_asset_is_told_once_of_every_batch_that_ended_whatever_became_of_the_triggerers(
    waits: dict[str, Wait], airflow: PrivateAirflow, emulator: Emulator, landed: Path
) -> None:
    """One ended under the first triggerer, one while none of them ran the watcher, one under its successor."""
    ended = {batch["id"] for batch in emulator.batches() if batch["processing_status"] == "ended"}
    assert {waits[name].batch_id for name in ("cleared", "failed", "handed over")} <= ended
    until(lambda: {path.stem for path in landed.glob("*.jsonl")} == ended)
    runs = airflow.api.call("GET", f"/api/v2/dags/{REACTS}/dagRuns")["dag_runs"]
    until(lambda: all(airflow.api.run_state(REACTS, run["dag_run_id"]) == "success" for run in runs))
    told = [airflow.api.xcom(REACTS, run["dag_run_id"], "ended_batches") for run in runs]
    assert sorted(batch["batch_id"] for batches in told for batch in batches) == sorted(ended)
