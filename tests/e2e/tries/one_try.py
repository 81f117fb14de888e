"""One leg of one try of a submit task, in a process of its own that can be killed or stopped at any point.

Processes are forked from a server that has imported Airflow once, because that import takes seconds. The task's store
is a file, so that it outlives the process as Airflow's outlives a worker.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import time_machine

from airflow_batches.operators import MessageBatchSubmitOperator
from airflow_batches.submission import record
from airflow_batches.submission.record import KEY, MemoryStore
from tests.contexts import TaskDeferred, TaskInstance, context
from tests.records import step_of
from tests.samples import some_requests

PRELOADED: Final = (
    "tests.e2e.tries.one_try",
    "airflow.providers.standard.triggers.temporal",
    "airflow.sdk.execution_time.supervisor",
    "airflow_batches.hooks.connection",
    "airflow_batches.submission.submit",
    "airflow_batches.triggers.message_batch",
    "airflow_batches.waiting.wait",
)
"""What a try imports while it runs: the server of processes has it ready."""
COUNT: Final = 3000
"""Requests of a try: more than one block of the body."""
RETRIES: Final = 9
"""Of the task: more than any test needs."""

BEFORE_ANY_BATCH: Final[Mapping[str, str]] = {
    "before its record was read": "before reading",
    "before it was claimed": "before claimed",
    "before the first byte of the body": "sending 0",
    "within the body": f"sending {COUNT - 10}",
    "before the intent was stored": "before intent",
    "after the intent was stored": "after intent",
}
"""Points at which no batch of the try can exist."""
LAST_PIECE: Final = "sending the last piece"
"""The intent was stored and checked, and the last piece of the body is about to be sent."""
ANSWERED: Final[Mapping[str, str]] = {
    "before the id was stored": "before submitted",
    "after the id was stored": "after submitted",
}
"""Points at which the batch exists and was answered."""


@dataclass(frozen=True, kw_only=True)
class Try:
    """What one process does.

    `at` is the point at which the process sends itself `signal`: one of the above. `number` is Airflow's try number,
    `max_tries` grows with a clear. `stored` is false before Airflow 3.3. `state` is what Airflow says of the task when
    it is killed. `source` is `list`, `generator`, or `uri`: a file beside the store. `resumes` is what Airflow keeps of
    a deferred leg: the method and its arguments. `clock_ahead_s` shifts the clock of this process.
    """

    folder: str
    connection: str
    at: str = ""
    signal: int = signal.SIGKILL
    prefix: str = "r"
    system: str = ""
    number: int = 1
    max_tries: int = RETRIES
    stored: bool = True
    state: str = "running"
    source: str = "list"
    run_started: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    resumes: tuple[str, Mapping[str, Any]] | None = None
    clock_ahead_s: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the try leaves what it has to say, without a suffix."""
        leg = "" if self.resumes is None else "-resumed"
        return Path(self.folder) / f"try-{self.number}{leg}"

    @property
    def store(self) -> Path:
        return Path(self.folder) / "store.json"

    @property
    def task_instance_id(self) -> str:
        """Airflow gives each try another one; a resumed leg keeps it."""
        return f"try {self.number}"

    def reach(self, point: str) -> None:
        """Be killed or stopped if this is the point."""
        if point == self.at:
            os.kill(os.getpid(), self.signal)


class FileStore:
    """Airflow's task state store in a file: it answers only the task instance of the newest try."""

    def __init__(self, spec: Try) -> None:
        self._spec = spec
        self._draft = spec.path.with_suffix(".draft")

    def begin(self) -> None:
        """Make this try the current one, as the scheduler does before it starts a process."""
        self._write(self._read() | {"task_instance_id": self._spec.task_instance_id})

    def get(self, key: str, default: Any = None) -> Any:
        stored = self._read()
        return stored.get(key, default) if self._is_current(stored) else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        stored = self._read()
        if not self._is_current(stored):
            raise RuntimeError("404: no such task instance")
        self._write(stored | {key: value})

    def _is_current(self, stored: Mapping[str, Any]) -> bool:
        return stored.get("task_instance_id") == self._spec.task_instance_id

    def _read(self) -> dict[str, Any]:
        return json.loads(self._spec.store.read_text()) if self._spec.store.exists() else {}

    def _write(self, values: Mapping[str, Any]) -> None:
        self._draft.write_text(json.dumps(values))
        self._draft.replace(self._spec.store)


class Watched:
    """A store, and the points of a try that its use shows."""

    def __init__(self, store: FileStore | MemoryStore, spec: Try) -> None:
        self._store = store
        self._reach = spec.reach
        self._looks = 0
        self._checks_of_intent = 0
        self._step = ""

    def get(self, key: str, default: Any = None) -> Any:
        if not self._looks:
            self._reach("before reading")
        self._looks += 1
        value = self._store.get(key)
        if self._step == "intent":
            self._checks_of_intent += 1
            # The first look after the write is the check of that write.
            if self._checks_of_intent == 1:
                self._reach(LAST_PIECE)
        return value

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        step = step_of(self._store.get(key), value)
        self._reach(f"before {step}")
        self._store.set(key, value)
        self._step = step
        self._reach(f"after {step}")


class Requests(list[Mapping[str, Any]]):
    """Reaches a point before each request is read for sending; the reading before that is the scan."""

    def __init__(self, requests: list[dict[str, Any]], spec: Try) -> None:
        super().__init__(requests)
        self._reach = spec.reach
        self._readings = 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        self._readings += 1
        for number, request in enumerate(super().__iter__()):
            if self._readings == 2:
                self._reach(f"sending {number}")
            yield request


class Published(TaskInstance):
    """Its XComs are a file."""

    def publish_to(self, path: Path) -> None:
        self._path = path
        self.xcoms = json.loads(path.read_text()) if path.exists() else {}

    def xcom_push(self, key: str, value: Any) -> None:
        super().xcom_push(key, value)
        self._path.write_text(json.dumps(self.xcoms))

    def xcom_pull(self, task_ids: Any, key: str, map_indexes: Any = None) -> Any:
        return self.xcoms.get(key) if task_ids == self.task_id else []


@dataclass(frozen=True)
class DagRun:
    """What is looked at of a run."""

    start_date: datetime

    @property
    def run_after(self) -> datetime:
        return self.start_date


@dataclass(frozen=True)
class Dag:
    """A DAG without other tasks."""

    tasks: tuple[Any, ...] = ()


def run(spec: Try) -> None:
    """Run the leg; its result goes to a file, its log to another."""
    with spec.path.with_suffix(".log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
    os.environ["AIRFLOW_CONN_ANTHROPIC_DEFAULT"] = spec.connection
    shift = timedelta(seconds=spec.clock_ahead_s)
    with time_machine.travel(datetime.now(UTC) + shift, tick=True) if shift else nullcontext():
        result = _run(spec)
    draft = spec.path.with_suffix(".draft-result")
    draft.write_text(json.dumps(result))
    draft.replace(spec.path.with_suffix(".json"))


def _run(spec: Try) -> dict[str, Any]:
    requests = some_requests(COUNT, prefix=spec.prefix, **({"system": spec.system} if spec.system else {}))
    options = {"wait_for_completion": False, "settle_for": 2.0} | dict(spec.options)
    settle_for = options.pop("settle_for")  # less than the operator takes, which a test need not wait for
    task = MessageBatchSubmitOperator(task_id="task", requests=_given(requests, spec), **options)
    task.settle_for = settle_for
    # As Airflow's task process does: the handler calls on_kill, then the task goes on for some seconds.
    signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
    ti = Published(try_number=spec.number, max_tries=spec.max_tries, retries=RETRIES, state=spec.state)
    ti.publish_to(Path(spec.folder) / f"xcoms-{spec.number}.json")
    ctx = context(task_state_store=_store(spec), dag_run=DagRun(spec.run_started), dag=Dag())
    ctx["ti"] = ti  # type: ignore[typeddict-item]  # the tests' stand-in
    leg: Callable[[], str] = lambda: task.execute(ctx)  # noqa: E731
    if spec.resumes is not None:
        method, kwargs = spec.resumes
        leg = lambda: task.resume_execution(method, dict(kwargs), ctx)  # noqa: E731
        spec.reach("before resuming")
    try:
        return {"batch_id": leg()}
    except TaskDeferred as deferred:
        trigger = deferred.trigger.serialize()[1]
        return {
            "deferred_on": trigger.get("batch_id", ""),
            "resumes": (deferred.method_name, deferred.kwargs or {}),
        }


def _store(spec: Try) -> Watched | None:
    if spec.stored:
        store = FileStore(spec)
        if spec.resumes is None:
            store.begin()
        return Watched(store, spec)
    # Such a try remembers in memory. Its points are those of the same writes.
    record.MemoryStore = lambda stored=None: Watched(MemoryStore(stored), spec)  # type: ignore[assignment,misc,return-value]
    return None


def _given(requests: list[dict[str, Any]], spec: Try) -> Any:
    if spec.source == "generator":
        return (request for request in requests)
    if spec.source == "uri":
        path = spec.path.with_suffix(".jsonl")
        path.write_text("".join(json.dumps(request) + "\n" for request in requests))
        return f"file://{path}"
    return Requests(requests, spec)


def stored_record(spec: Try) -> Any:
    """Return the task's record, whichever task instance asks."""
    return json.loads(spec.store.read_text()).get(KEY) if spec.store.exists() else None
