"""Landings that overlap: one is stopped at each of its steps in turn, another one lands, then the first one goes on.

A step of a local landing is a call that changes something (Python's audit events), a step in S3 is an HTTP request.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pytest

from airflow_batches.api import BatchesClient, BatchesError
from airflow_batches.emulator import Emulator
from airflow_batches.landing import LandedBy, LandingError, LandingOvertaken, LandingTimeout, Manifest, land
from tests.samples import some_requests
from tests.servers import gateway, s3_server
from tests.unit.landing.support import QUICK, client_of

STEPS: Final = frozenset({"os.rename", "os.remove", "fcntl.flock"})
Options = dict[str, Any]
Outcome = Manifest | BatchesError
SHORT: Final = {"timeout": 0.5}
LOCK_WAIT_S: Final = 0.2
"""Seconds to wait for a landing that is stopped while it holds the folder's lock."""
TASK: Final = LandedBy(dag_id="d", run_id="r", task_id="land")


class Stop:
    """Stops the thread that takes step number `at`, counted from 0, until it is released."""

    def __init__(self, at: int) -> None:
        self.reached = threading.Event()
        self._left = at
        self._released = threading.Event()
        self._lock = threading.Lock()

    def step(self) -> None:
        with self._lock:
            self._left -= 1
            stops = self._left == -1
        if stops:
            self.reached.set()
            assert self._released.wait(60)

    def release(self) -> None:
        self._released.set()


class AuditedSteps:
    """Local steps; an audit hook cannot be removed, so one hook serves all tests."""

    def __init__(self) -> None:
        self.stop: Stop | None = None
        self.folder = ""
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        stop = self.stop
        if stop is None or event not in STEPS or threading.current_thread().name != "landing":
            return
        if event == "fcntl.flock" or self.folder in str(arguments[0]):
            stop.step()


@pytest.fixture(scope="module")
def audited() -> AuditedSteps:
    return AuditedSteps()


@dataclass
class Store:
    """A new place for each call of `begin`, the folder that shows it, and the options of the stopped landing."""

    folder: Path
    root: str
    options: dict[str, Any]
    stopping: Callable[[Stop], Any]
    name: str = ""
    uris: dict[str, str] = field(default_factory=dict)

    def begin(self, number: int) -> None:
        self.name = f"p{number}"
        self.uris = {
            "path": f"{self.root}/{self.name}/out.jsonl",
            "failed_path": f"{self.root}/{self.name}/failed.jsonl",
        }

    def data(self, name: str) -> bytes:
        return (self.folder / self.name / name).read_bytes()

    @property
    def manifest(self) -> Manifest:
        return msgspec.json.decode(self.data("out.jsonl.manifest.json"), type=Manifest)


StoreKind = Literal["file", "s3", "s3 with conditions"]


@contextmanager
def local_store(folder: Path, audited: AuditedSteps) -> Iterator[Store]:
    @contextmanager
    def stopping(stop: Stop) -> Iterator[dict[str, Any]]:
        audited.stop, audited.folder = stop, str(folder)
        try:
            yield {}
        finally:
            audited.stop = None

    yield Store(folder, f"file://{folder}", {}, stopping)


@contextmanager
def remote_store(*, conditions: bool) -> Iterator[Store]:
    current: list[Stop] = []
    wrote: list[str] = []

    def decide(method: str, target: str) -> None:
        wrote.extend([target] if current and method in {"PUT", "POST"} else [])
        if wrote and current and (method != "HEAD" or not conditions):  # before the first write it only reads
            current[0].step()

    @contextmanager
    def stopping(stop: Stop) -> Iterator[dict[str, Any]]:
        wrote.clear()
        current[:] = [stop]
        try:
            yield {"storage_options": slow.storage_options}
        finally:
            current.clear()

    with (
        s3_server() as plain,
        gateway(plain, conditions="honoured") if conditions else nullcontext(plain) as server,
        gateway(server, decide) as slow,
    ):
        yield Store(server.make_bucket("bucket"), "s3://bucket", {"storage_options": server.storage_options}, stopping)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, audited: AuditedSteps) -> Iterator[Store]:
    kind: StoreKind = request.param
    opened = local_store(tmp_path, audited) if kind == "file" else remote_store(conditions=kind != "s3")
    with opened as found:
        yield found


def outcome_of(emulator: Emulator, batch_id: str, options: Options) -> Outcome:
    with client_of(emulator) as client:
        try:
            return land(client, batch_id, **{"retry": QUICK, "store_timeout": LOCK_WAIT_S, **options})
        except BatchesError as error:
            return error


def overlapping(
    emulator: Emulator,
    store: Store,
    at: int,
    first: tuple[str, Options],
    second: tuple[str, Options],
    meanwhile: Callable[[list[Outcome]], None],
) -> tuple[list[Outcome], bool]:
    """The outcomes of two landings, and whether the first one was stopped at that step while the second one landed.

    `meanwhile` is called before the first one goes on.
    """
    stop = Stop(at)
    outcomes: list[Outcome] = []
    with store.stopping(stop) as options:
        arguments = (emulator, first[0], {**store.uris, **store.options, **options, **first[1]})
        thread = threading.Thread(target=lambda: outcomes.append(outcome_of(*arguments)))
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while thread.is_alive() and not stop.reached.wait(0.01) and time.monotonic() < deadline:
                pass
            if stop.reached.is_set():
                outcomes.append(outcome_of(emulator, second[0], {**store.uris, **store.options, **second[1]}))
                meanwhile(outcomes)
        finally:
            stop.release()
            thread.join(60)
    return outcomes, stop.reached.is_set()


def assert_true(store: Store, batches: dict[str, set[str]]) -> Manifest:
    """Check that the manifest is complete, and that its objects are those of its batch."""
    manifest = store.manifest
    assert manifest.state == "complete"
    assert manifest.verified
    assert hashlib.sha256(store.data("out.jsonl")).hexdigest() == manifest.results.sha256
    assert manifest.failed is not None
    assert hashlib.sha256(store.data("failed.jsonl")).hexdigest() == manifest.failed.sha256
    ids = {json.loads(line)["custom_id"] for line in store.data("out.jsonl").splitlines()}
    assert ids == batches[manifest.batch_id]
    return manifest


def assert_after(emulator: Emulator, store: Store, batches: dict[str, set[str]], outcomes: list[Outcome]) -> None:
    """Check what must hold when both have ended, or one and a third that landed in between."""
    if any(isinstance(outcome, Manifest) for outcome in outcomes):
        assert_true(store, batches)
    assert_landable(emulator, store, batches)


def assert_landable(emulator: Emulator, store: Store, batches: dict[str, set[str]]) -> None:
    """Check that the batch that the manifest names can be landed, and that everything is consistent then."""
    options = {**store.uris, **store.options}
    again = outcome_of(emulator, store.manifest.batch_id, options)
    if isinstance(again, LandingOvertaken):  # by a landing whose thread still waited for the folder's lock
        again = outcome_of(emulator, store.manifest.batch_id, options)
    assert isinstance(again, Manifest), again
    assert assert_true(store, batches) == again


def assert_consistent(emulator: Emulator, store: Store, batches: dict[str, set[str]], outcomes: list[Outcome]) -> None:
    """Check what must hold while the first one is stopped: a success is final, and its batch can be landed."""
    assert all(isinstance(outcome, Manifest | LandingError) for outcome in outcomes), outcomes
    if any(isinstance(outcome, LandingTimeout) for outcome in outcomes):
        return  # the first one is stopped while it holds the folder's lock
    landed = {outcome.landing_id for outcome in outcomes if isinstance(outcome, Manifest)}
    if landed:
        assert assert_true(store, batches).landing_id in landed
    again = outcome_of(emulator, store.manifest.batch_id, {**store.uris, **store.options, **SHORT})
    if not isinstance(again, LandingTimeout):
        assert isinstance(again, Manifest), again
        assert_true(store, batches)


@pytest.fixture
def batches(emulator: Emulator, client: BatchesClient) -> dict[str, set[str]]:
    """Two batches by id, with their custom_ids; some requests failed, and the order of the results changes."""
    emulator.configure(order="shuffled", errored_share=0.3)
    found = {}
    for prefix in "ab":
        requests = [{**request, "custom_id": f"{prefix}-{at}"} for at, request in enumerate(some_requests(12))]
        found[client.create(requests).id] = {request["custom_id"] for request in requests}
    return found


SCENARIOS: Final[dict[str, tuple[bool, Options, Options, Options | None]]] = {
    "one batch at a new place": (True, {}, {}, None),
    "one batch where it was damaged": (True, {}, {}, {}),
    "one batch, overwriting": (True, {"overwrite": True}, {"overwrite": True}, {}),
    "two batches at a new place": (False, {}, {}, None),
    "two batches, the second overwriting": (False, {}, {"overwrite": True}, None),
    "two batches of one task": (False, {"landed_by": TASK}, {"landed_by": TASK}, {"landed_by": TASK}),
}
"""Whether both land the same batch; the options of the two; the options of an earlier landing at the place."""
FEWER: Final = ("one batch at a new place", "two batches of one task")
"""For S3, where each step takes several HTTP requests; the decisions are the same in all stores."""


@pytest.mark.parametrize(
    ("store", "scenario"),
    [*(("file", name) for name in SCENARIOS), *(("s3 with conditions", name) for name in FEWER)],
    indirect=["store"],
)
def test_exactly_one_of_two_landings_wins_at_whatever_step_the_first_is_stopped(
    emulator: Emulator, batches: dict[str, set[str]], store: Store, scenario: str
) -> None:
    same, first, second, before = SCENARIOS[scenario]
    older, newer = batches
    other = older if same else newer
    for at in count():
        store.begin(at)
        if before is not None:
            outcome_of(emulator, older, {**store.uris, **store.options, **before})
            (store.folder / store.name / "out.jsonl").write_bytes(b"damaged")
        outcomes, stopped = overlapping(
            emulator,
            store,
            at,
            (older, {"timeout": 60.0, **first}),
            (other, {**SHORT, **second}),
            lambda outcomes: assert_consistent(emulator, store, batches, outcomes),
        )
        if not same and not second:
            assert len([outcome for outcome in outcomes if isinstance(outcome, Manifest)]) <= 1
        settled = [outcome for outcome in outcomes if not isinstance(outcome, LandingTimeout)]
        assert_after(emulator, store, batches, settled)
        if not stopped:
            break
    assert at >= 4


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_in_a_store_without_conditions_two_batches_never_both_land_and_the_named_one_can_land(
    emulator: Emulator, batches: dict[str, set[str]], store: Store
) -> None:
    older, newer = batches
    for at in count():
        store.begin(at)
        outcomes, stopped = overlapping(emulator, store, at, (older, {}), (newer, {}), lambda _: None)
        assert len([outcome for outcome in outcomes if isinstance(outcome, Manifest)]) <= 1
        assert_landable(emulator, store, batches)
        if not stopped:
            break
    assert at > 8
