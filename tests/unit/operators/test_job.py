"""The operator of a whole job, leg by leg against the emulator: when it defers, fails, and cancels."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_batches._compat import AirflowException, AirflowFailException, AirflowSkipException
from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.jobs import JobCanceled, JobLimits
from airflow_batches.jobs.cutting import CutLimits
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.planning import JobRequests
from airflow_batches.jobs.run import make_engine
from airflow_batches.operators import MessageBatchJobOperator
from airflow_batches.operators.job_run import RunsJob
from airflow_batches.triggers import MessageBatchesTrigger
from tests.contexts import TaskDeferred, TaskInstance, context
from tests.unit.triggers.conftest import supervisor as supervisor
from tests.unit.triggers.supervisor import Supervisor
from tests.unit.triggers.supervisor import TaskInstance as Deferred

pytestmark = pytest.mark.usefixtures("connection")

PROMPTS = [f"prompt {number}" for number in range(9)]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0, cancel_time=3600.0, retry_after=0, incremental_counts=True) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "job"


@pytest.fixture
def operator(folder: Path) -> Callable[..., Any]:
    """Make the operator of a job of three batches."""

    def make(**options: Any) -> MessageBatchJobOperator:
        usual: dict[str, Any] = {
            "task_id": "task", "requests": PROMPTS, "path": folder, "model": "claude-haiku-4-5",
            "defaults": {"max_tokens": 10}, "max_requests": 3, "poll_interval": 0.05,
        }  # fmt: skip
        return MessageBatchJobOperator(**(usual | options))

    return make


def task(**options: Any) -> Context:
    ctx = context()
    ctx["ti"] = TaskInstance(**options)  # type: ignore[typeddict-item]  # the tests' stand-in
    return ctx


def deferred(run: Callable[[], object]) -> tuple[MessageBatchesTrigger, Any]:
    with pytest.raises(TaskDeferred) as found:
        run()
    trigger = found.value.trigger
    assert isinstance(trigger, MessageBatchesTrigger)
    return trigger, found.value


def answers(folder: Path) -> list[str]:
    lines = [line for part in folder.glob("results-*.jsonl") for line in part.read_text().splitlines()]
    return sorted(json.loads(line)["custom_id"] for line in lines)


def statuses(emulator: Emulator) -> list[str]:
    return [batch["processing_status"] for batch in emulator.batches()]


def test_it_defers_with_ids_and_times_only_and_goes_on_after_the_event(
    operator: Any, emulator: Emulator, folder: Path
) -> None:
    ctx = task()
    trigger, deferral = deferred(lambda: operator().execute(ctx))
    assert trigger.batch_ids == [batch["id"] for batch in emulator.batches()][::-1]
    assert (trigger.until, deferral.method_name) == ("first", "execute_again")
    assert trigger.wake_at == deferral.kwargs["deadline"]
    assert "prompt" not in json.dumps([trigger.serialize()[1], deferral.kwargs])
    assert json.loads((folder / "_job/ledger.json").read_text())["lease"] is None
    xcoms = ctx["ti"].xcoms  # type: ignore[attr-defined]  # the tests' stand-in
    assert xcoms["estimate"]["input_tokens"] > 0
    assert xcoms["progress"] | {"spent_usd": 0, "projected_usd": 0} == {
        "round": 1, "batches": 3, "landed": 0, "counts": {}, "under_way": 9, "unsent": 0, "spent_usd": 0,
        "projected_usd": 0, "canary": False, "oldest_batch_at": ANY,
    }  # fmt: skip
    created = [datetime.fromisoformat(batch["created_at"]) for batch in emulator.batches()]
    assert datetime.fromisoformat(xcoms["progress"]["oldest_batch_at"]) == min(created)
    emulator.end_all()
    manifest = operator(requests=["not read again"]).execute_again(ctx, {"outcomes": []}, **deferral.kwargs)
    assert manifest["counts"] == {"succeeded": 9}
    assert len(set(answers(folder))) == 9
    assert xcoms["progress"]["landed"] == 3


def test_it_blocks_if_it_is_not_deferrable(operator: Any, emulator: Emulator, folder: Path) -> None:
    emulator.configure(processing_time=0.3)
    assert operator(deferrable=False).execute(task())["counts"] == {"succeeded": 9}
    assert len(set(answers(folder))) == 9


def test_a_full_queue_wakes_the_task_at_its_time(
    operator: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunsJob, "STAY_FIRST_S", 0.0)
    emulator.configure(queue_limit=4)
    trigger, deferral = deferred(lambda: operator().execute(task()))
    assert len(trigger.batch_ids) == 1
    assert trigger.wake_at is not None
    assert trigger.wake_at < deferral.kwargs["deadline"]


def test_another_runner_is_waited_for_without_its_batches(
    operator: Any, emulator: Emulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunsJob, "STAY_FIRST_S", 0.0)
    deferred(lambda: operator().execute(task()))
    take_over(folder)
    trigger, deferral = deferred(lambda: operator().execute(task()))
    assert trigger.batch_ids == []
    assert deferral.kwargs["begun"] is False
    assert emulator.counters["create"] == 3


def test_a_budget_stops_it_without_a_retry_and_a_higher_one_goes_on(
    operator: Any, emulator: Emulator, folder: Path
) -> None:
    with pytest.raises(AirflowFailException, match=r"max_cost_usd=0\.00001"):
        operator(max_cost_usd="0.00001").execute(task())
    assert emulator.counters["create"] == 0
    emulator.configure(processing_time=0.0)
    assert operator(max_cost_usd=5, deferrable=False).execute(task())["counts"] == {"succeeded": 9}
    with pytest.raises(AirflowFailException, match="amount in USD"):
        operator(max_cost_usd="much").execute(task())


def test_too_many_failures_fail_it_after_everything_is_published(
    operator: Any, emulator: Emulator, folder: Path
) -> None:
    emulator.configure(processing_time=0.0)
    with pytest.raises(AirflowFailException, match="9 of 9 requests have no answer"):
        operator(model="claude-unknown-1", deferrable=False).execute(task())
    assert len((folder / "failed.jsonl").read_text().splitlines()) == 9


def test_other_requests_for_the_folder_are_refused_unless_its_job_may_go_on(operator: Any, emulator: Emulator) -> None:
    deferred(lambda: operator().execute(task()))
    with pytest.raises(AirflowFailException, match="other requests"):
        operator(requests=["another prompt"]).execute(task())
    emulator.end_all()
    manifest = operator(requests=["another prompt"], on_changed="continue").execute(task())
    assert manifest["counts"] == {"succeeded": 9}
    assert emulator.counters["create"] == 3


def test_no_requests(operator: Any, emulator: Emulator) -> None:
    with pytest.raises(AirflowFailException):
        operator(requests=[]).execute(task())
    with pytest.raises(AirflowSkipException):
        operator(requests=[], on_empty="skip").execute(task())
    assert operator(requests=[], on_empty="succeed").execute(task()) is None
    with pytest.raises(ValueError, match="on_empty"):
        operator(on_empty="ignore")
    assert emulator.counters["create"] == 0


def test_after_its_timeout_the_batches_go_on(operator: Any, emulator: Emulator) -> None:
    deferred(lambda: operator().execute(task()))
    with pytest.raises(AirflowException, match="a retry waits for the same ones") as found:
        operator().execute_again(task(), {"outcomes": []}, deadline=0.0, begun=True)
    assert not isinstance(found.value, AirflowFailException)
    assert emulator.counters["cancel"] == 0


@pytest.mark.parametrize("refused", [False, True])
def test_after_its_timeout_the_batches_are_canceled_if_asked(operator: Any, emulator: Emulator, refused: bool) -> None:
    deferred(lambda: operator().execute(task()))
    if refused:
        emulator.configure(denied=("cancel",))
    message = "Canceling failed, they may run" if refused else "3 batches are canceling or have ended"
    with pytest.raises(AirflowFailException, match=message):
        operator(cancel_on_timeout=True).resume_execution("__fail__", {"error": "Trigger timeout"}, task())
    assert statuses(emulator) == ["in_progress" if refused else "canceling"] * 3


def test_after_its_timeout_nothing_is_canceled_if_another_runner_has_taken_the_job_over(
    operator: Any, emulator: Emulator, folder: Path
) -> None:
    class Overtaken(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            """Another runner takes the job over when this one pauses."""
            if key == "progress":
                take_over(folder)

    ctx = task()
    ctx["ti"] = Overtaken()  # type: ignore[typeddict-item]  # the tests' stand-in
    with pytest.raises(AirflowException, match="Nothing is canceled: another runner has taken the job over") as found:
        operator(cancel_on_timeout=True).execute_again(ctx, {"outcomes": []}, deadline=0.0)
    assert not isinstance(found.value, AirflowFailException)
    assert statuses(emulator) == ["in_progress"] * 3


def take_over(folder: Path) -> None:
    ledger = json.loads((folder / "_job/ledger.json").read_text())
    ledger["lease"] = {"runner": "other", "owner": "other", "expires_at": "2100-01-01T00:00:00Z"}
    ledger["generation"] += 1
    (folder / "_job/ledger.json").write_text(json.dumps(ledger))


def test_a_deferred_task_that_a_person_ends_leaves_the_batches_to_a_terminal_that_runs_the_job(
    operator: Any, emulator: Emulator, folder: Path, supervisor: Supervisor
) -> None:
    trigger, _ = deferred(lambda: operator().execute(task()))
    trigger.task_instance = Deferred()  # type: ignore[assignment]  # the stand-in's
    supervisor.states = {"run": {"task": "failed"}}
    unled = (folder / "_job/ledger.json").read_text()
    take_over(folder)
    asyncio.run(trigger.on_kill())
    assert emulator.counters["cancel"] == 0
    (folder / "_job/ledger.json").write_text(unled)
    asyncio.run(trigger.on_kill())
    assert statuses(emulator) == ["canceling"] * 3


def test_every_outlet_asset_gets_the_jobs_numbers(operator: Any, emulator: Emulator, folder: Path) -> None:
    emulator.configure(processing_time=0.0)
    asset, alias, events = Asset("answers"), AssetAlias("somewhere"), OutletEventAccessors()
    ctx = context(outlet_events=events)
    manifest = operator(deferrable=False, outlets=[asset, alias]).execute(ctx)
    assert manifest["counts"] == {"succeeded": 9}
    assert float(manifest["cost_usd"]) > 0
    assert events[asset].extra == manifest
    (event,) = events[alias].asset_alias_events
    assert (event.dest_asset_key.uri, event.extra) == (f"file://{folder}/manifest.json", manifest)
    assert manifest == json.loads((folder / "manifest.json").read_bytes())


def test_a_job_that_failed_updates_no_asset(operator: Any, emulator: Emulator) -> None:
    emulator.configure(processing_time=0.0)
    asset, events = Asset("answers"), OutletEventAccessors()
    with pytest.raises(AirflowFailException, match="9 of 9"):
        operator(model="claude-unknown-1", deferrable=False, outlets=[asset]).execute(context(outlet_events=events))
    assert events[asset].extra == {}


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def kill_while_blocking(op: MessageBatchJobOperator, emulator: Emulator, state: str, share: float = 0.0) -> None:
    """Kill a task whose three batches are under way, and wait until its process would end."""
    errors: list[BaseException] = []

    def execute() -> None:
        try:
            op.execute(task(state=state))
        except BaseException as error:  # noqa: BLE001  # looked at below
            errors.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    until(lambda: emulator.counters["get"] > 3)
    emulator.clock.advance(share * 3600.0)
    op.on_kill()
    thread.join(30)
    assert [type(error).__name__ for error in errors] == ["SubmitKilled"]


def test_a_task_that_goes_on_elsewhere_leaves_its_batches(operator: Any, emulator: Emulator) -> None:
    kill_while_blocking(operator(deferrable=False), emulator, "running")
    assert emulator.counters["cancel"] == 0


@pytest.mark.parametrize(("share_answered", "rounds"), [(0.0, 1), (0.5, 2)])
def test_a_person_who_ends_the_task_cancels_all_and_a_clear_answers_all(
    share_answered: float, rounds: int, operator: Any, emulator: Emulator, folder: Path
) -> None:
    """A batch without an answer is sent again as it was; of the others, the canceled requests in another round."""
    kill_while_blocking(operator(deferrable=False), emulator, "failed", share_answered)
    assert statuses(emulator) == ["canceling"] * 3
    emulator.end_all()
    emulator.configure(processing_time=0.0)
    manifest = operator(deferrable=False, rounds=1).execute(task(try_number=2, max_tries=1))
    assert manifest["counts"] == {"succeeded": 9}
    assert len(manifest["rounds"]) == rounds
    assert len(answers(folder)) == len(set(answers(folder))) == 9


def test_what_is_canceled_in_the_console_after_the_clear_is_not_sent_again(operator: Any, emulator: Emulator) -> None:
    deferred(lambda: operator().execute(task()))
    trigger, deferral = deferred(lambda: operator().execute(task(try_number=2, max_tries=1)))
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        for batch_id in trigger.batch_ids:
            client.cancel(batch_id)
    emulator.end_all()
    ctx = task(try_number=2, max_tries=1)
    with pytest.raises(AirflowFailException, match="9 canceled"):
        operator().execute_again(ctx, {"outcomes": []}, **deferral.kwargs)
    assert emulator.counters["create"] == 3
    assert ctx["ti"].xcoms["return_value"]["counts"] == {"canceled": 9}  # type: ignore[attr-defined]  # the tests' stand-in


def test_a_retry_by_airflow_sends_no_canceled_request_again(operator: Any, emulator: Emulator, folder: Path) -> None:
    """A person canceled the batches in the Console while the task went on."""
    kill_while_blocking(operator(deferrable=False), emulator, "failed")
    emulator.end_all()
    creates = emulator.counters["create"]
    with pytest.raises(AirflowFailException, match="9 canceled"):
        operator(deferrable=False, retries=1).execute(task(try_number=2, max_tries=1, retries=1))
    assert emulator.counters["create"] == creates


def test_a_job_that_was_canceled_in_a_terminal_goes_on_after_a_clear_only(
    operator: Any, emulator: Emulator, folder: Path
) -> None:
    emulator.configure(cancel_time=0.0)
    deferred(lambda: operator().execute(task()))
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        asked = JobRequests(requests=None, cut=CutLimits(version=client.anthropic_version))
        engine = make_engine(client, JobFolder(folder), asked, JobLimits(poll_interval=0.05), cancel=True)
        with pytest.raises(JobCanceled):
            engine.run()
    emulator.configure(processing_time=0.0)
    for ctx in (task(), task(try_number=2, max_tries=1, retries=1)):
        with pytest.raises(AirflowFailException, match="The job was canceled"):
            operator(deferrable=False).execute(ctx)
    assert emulator.counters["create"] == 3
    assert operator(deferrable=False).execute(task(try_number=2, max_tries=1))["counts"] == {"succeeded": 9}
    assert len(answers(folder)) == len(set(answers(folder))) == 9


def test_a_batch_that_the_trigger_gave_up_is_looked_at_until_that_is_certain(
    operator: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, deferral = deferred(lambda: operator().execute(task()))
    monkeypatch.setattr("airflow_batches.operators.job_run.STAY_S", 30.0)
    emulator.fault(Fault(endpoint="get", action="status", status=404, message="no such batch", times=6))
    emulator.configure(processing_time=0.0)
    emulator.end_all()
    event = {"outcomes": [{"ending": "gave_up", "batch_id": "x"}]}
    assert operator().execute_again(task(), event, **deferral.kwargs)["counts"] == {"succeeded": 9}
