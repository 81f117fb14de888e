"""One try of a submit task, in a process of its own that can be killed at any point: `python -m tests.e2e.one_try`.

The task's store is a file, so that it outlives the process as Airflow's outlives a worker. The argument is JSON, the
fields of `Try`; what came of the try is printed as one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.contexts import TaskInstance

COUNT = 3000
"""Requests of a try: more than one block of the body."""


@dataclass(frozen=True, kw_only=True)
class Try:
    """`die` names the point at which the process kills itself: `sending N` before the N-th request is sent, `before`
    or `after` a record of that state is stored. `number` is Airflow's try number."""

    store: str
    die: str = ""
    prefix: str = "r"
    system: str = ""
    number: int = 1
    map_index: int = -1
    xcoms: str = ""
    """The folder of what the positions of a mapped task publish."""
    cleared: bool = False
    state: str = "running"
    """What Airflow says of the task when it is killed."""
    source: str = "list"
    """Or `generator`, or `uri`: a file beside the store."""
    run_started: str = "2026-01-01T00:00:00+00:00"
    options: Mapping[str, Any] = field(default_factory=dict)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.e2e.one_try", json.dumps(asdict(self))]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class FileStore:
    """What Airflow's task state store does, in a file."""

    def __init__(self, path: str, death: str) -> None:
        self._path = Path(path)
        self._death = death

    def get(self, key: str, default: Any = None) -> Any:
        return self._values().get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if self._death == f"before {value['state']}":
            die()
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(self._values() | {key: value}))
        draft.replace(self._path)
        if self._death == f"after {value['state']}":
            die()

    def _values(self) -> Any:
        return json.loads(self._path.read_text()) if self._path.exists() else {}


class Published(TaskInstance):
    """Its XComs are files, which a try that begins removes, and which all positions may read."""

    def begin(self, folder: str) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(exist_ok=True)
        for path in self._folder.glob(f"{self.map_index}.*"):
            path.unlink()

    def xcom_push(self, key: str, value: Any) -> None:
        draft = self._folder / f"draft-{self.map_index}"
        draft.write_text(json.dumps(value))
        draft.replace(self._folder / f"{self.map_index}.{key}")

    def xcom_pull(self, task_ids: Any, key: str, map_indexes: Any = None) -> Any:
        return [json.loads(path.read_text()) for path in sorted(self._folder.glob(f"*.{key}"))]


class Requests(list[Mapping[str, Any]]):
    """Dies before the N-th request is read for sending; the reading before that is the weighing."""

    def __init__(self, requests: list[dict[str, Any]], death: str) -> None:
        super().__init__(requests)
        self._death = int(death.removeprefix("sending ")) if death.startswith("sending ") else None
        self._readings = 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        self._readings += 1
        for number, request in enumerate(super().__iter__()):
            if self._readings == 2 and number == self._death:
                die()
            yield request


def given(requests: list[dict[str, Any]], spec: Try) -> Any:
    if spec.source == "generator":
        return (request for request in requests)
    if spec.source == "uri":
        path = Path(spec.store).with_suffix(".jsonl")
        path.write_text("".join(json.dumps(request) + "\n" for request in requests))
        return f"file://{path}"
    return Requests(requests, spec.die)


def main() -> None:
    spec = Try(**json.loads(sys.argv[1]))
    from airflow_batches.operators import MessageBatchSubmitOperator
    from tests.contexts import TaskDeferred, context
    from tests.samples import some_requests

    requests = some_requests(COUNT, prefix=spec.prefix, **({"system": spec.system} if spec.system else {}))
    task = MessageBatchSubmitOperator(
        task_id="task",
        requests=given(requests, spec),
        **({"wait_for_completion": False, "settle_for": 3.0} | dict(spec.options)),
    )
    # As Airflow's task process does: the handler calls on_kill, then the task goes on for some seconds.
    signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
    ti = Published(map_index=spec.map_index, try_number=spec.number, state=spec.state)
    ti.begin(spec.xcoms or str(Path(spec.store).with_suffix(".xcoms")))
    run = DagRun(clear_number=int(spec.cleared), start_date=datetime.fromisoformat(spec.run_started))
    ctx = context(task_state_store=FileStore(spec.store, spec.die), dag_run=run, dag=Dag())
    ctx["ti"] = ti  # type: ignore[typeddict-item]  # the tests' stand-in
    try:
        outcome = {"batch_id": task.execute(ctx)}
    except TaskDeferred as deferred:
        outcome = {"deferred_on": deferred.trigger.serialize()[1]["batch_id"]}
    sys.stdout.write(json.dumps(outcome) + "\n")


@dataclass(frozen=True)
class DagRun:
    """What is looked at of a run."""

    clear_number: int
    start_date: datetime

    @property
    def run_after(self) -> datetime:
        return self.start_date


@dataclass(frozen=True)
class Dag:
    """A DAG without other tasks."""

    tasks: tuple[Any, ...] = ()


if __name__ == "__main__":
    main()
