"""The legs of a submit task: submit, defer, resume, conclude."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import requests_mock
from airflow.sdk import DAG, XComArg

from airflow_batches._compat import AirflowException, AirflowFailException, AirflowSkipException
from airflow_batches._duration import seconds_to_wait
from airflow_batches.api import BatchesClient, CancelUnconfirmed
from airflow_batches.api.polling import Watch
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.operators import MessageBatchSubmitOperator
from airflow_batches.operators.requests import Verbatim
from airflow_batches.triggers import MessageBatchTrigger
from airflow_batches.waiting.outcome import Counts, Ending, Outcome, outcome_of
from tests.contexts import (
    StateStore,
    TaskDeferralError,
    TaskDeferralTimeout,
    TaskDeferred,
    TaskInstance,
    context,
)
from tests.samples import some_requests

pytestmark = pytest.mark.usefixtures("connection")


def operator(**options: Any) -> MessageBatchSubmitOperator:
    return MessageBatchSubmitOperator(**({"task_id": "task", "requests": some_requests(3)} | options))


def run(task: MessageBatchSubmitOperator, **more: Any) -> tuple[str, TaskInstance]:
    """The first leg, with a state store; gives the return value and the task instance."""
    ctx = context(**({"task_state_store": StateStore()} | more))
    return task.execute(ctx), ctx["ti"]  # type: ignore[return-value]  # the context's own stand-in


def ended(batch_id: str = "msgbatch_1", **counts: Any) -> dict[str, Any]:
    outcome = Outcome(ending=Ending.ENDED, batch_id=batch_id, status="ended", counts=Counts(**counts))
    return outcome.to_event()


def test_a_batch_that_has_ended_already_is_not_deferred(emulator: Emulator) -> None:
    batch_id, ti = run(operator())
    assert [batch["id"] for batch in emulator.batches()] == [batch_id]
    assert ti.xcoms["batch_id"] == batch_id
    assert ti.xcoms["receipt"]["batch_id"] == batch_id
    assert ti.xcoms["receipt"]["requests"] == 3


def test_a_batch_that_goes_on_is_deferred_with_its_id_pushed_before(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0)
    ctx = context(task_state_store=StateStore())
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        operator(poll_interval=30, timeout=7200).execute(ctx)
    (batch,) = emulator.batches()
    trigger = deferred.value.trigger
    assert isinstance(trigger, MessageBatchTrigger)
    assert (trigger.batch_id, trigger.conn_id, trigger.poll_interval) == (batch["id"], "anthropic_default", 30.0)
    assert trigger.deadline is not None
    assert before + 7200 <= trigger.deadline <= time.time() + 7200
    assert deferred.value.method_name == "execute_complete"
    assert deferred.value.timeout is not None
    assert seconds_to_wait(deferred.value.timeout) > 7200, "Airflow's own end is behind ours"
    assert ctx["ti"].xcoms["batch_id"] == batch["id"]  # type: ignore[attr-defined]  # the stand-in's


def test_without_waiting_the_id_comes_back_at_once(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0)
    batch_id, _ = run(operator(wait_for_completion=False))
    assert batch_id == emulator.batches()[0]["id"]
    assert emulator.counters["get"] == 0


def test_without_a_triggerer_the_worker_waits_and_concludes_the_same(emulator: Emulator) -> None:
    emulator.configure(processing_time=1.0, retry_after=0)
    batch_id, _ = run(operator(deferrable=False, poll_interval=0.2))
    assert emulator.batches()[0]["processing_status"] == "ended"
    assert batch_id == emulator.batches()[0]["id"]


def test_a_worker_that_waits_says_how_the_batch_goes_on(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    emulator.configure(processing_time=0.5, retry_after=0)
    run(operator(deferrable=False, poll_interval=0.1))
    assert caplog.text.count("is in_progress: 3 processing") == 1


def test_the_resumed_leg_returns_the_id_of_the_event() -> None:
    assert operator().execute_complete(context(), ended(succeeded=3)) == "msgbatch_1"


def test_a_batch_without_a_success_fails_the_task_for_good() -> None:
    with pytest.raises(AirflowFailException, match="without a single success"):
        operator().execute_complete(context(), ended(errored=3))


def test_a_batch_that_was_canceled_skips_the_task() -> None:
    with pytest.raises(AirflowSkipException, match="was canceled"):
        operator().execute_complete(context(), ended(canceled=3))


def test_too_many_failures_fail_the_task() -> None:
    task = operator(max_failure_rate=0.1)
    with pytest.raises(AirflowFailException, match=r"above the 10\.00% allowed"):
        task.execute_complete(context(), ended(succeeded=8, errored=2))


def test_a_few_failures_are_a_warning_that_names_the_counts(caplog: pytest.LogCaptureFixture) -> None:
    operator(max_failure_rate=0.2).execute_complete(context(), ended(succeeded=8, errored=2))
    assert "2 of 10 requests failed (8 succeeded, 2 errored)" in caplog.text


def failed_batch(emulator: Emulator, *, succeeded: int, errored: int) -> str:
    """A batch in which an unknown model was named for some requests."""
    requests = some_requests(succeeded + errored)
    for request in requests[:errored]:
        request["params"]["model"] = "claude-no-such-model"
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return client.create(requests).id


def conclude(emulator: Emulator, batch_id: str, **options: Any) -> str:
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        event = outcome_of(client.get(batch_id), Ending.ENDED).to_event()
    return operator(**options).execute_complete(context(), event)


@pytest.mark.parametrize(("succeeded", "verdict"), [(0, "without a single success"), (17, "above the 5.00% allowed")])
def test_a_failure_names_the_commonest_errors_and_the_way_to_the_lines(
    emulator: Emulator, succeeded: int, verdict: str
) -> None:
    batch_id = failed_batch(emulator, succeeded=succeeded, errored=3)
    with pytest.raises(AirflowFailException) as caught:
        conclude(emulator, batch_id, max_failure_rate=0.05)
    message = str(caught.value)
    assert verdict in message
    assert "The commonest errors: 3 x not_found_error: model: claude-no-such-model" in message
    assert 'MessageBatchResultsOperator with batch_id=XComArg(this_task, key="batch_id")' in message
    assert f"`airflow-batches land {batch_id} PATH`" in message


def test_a_warning_names_the_commonest_errors(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    batch_id = failed_batch(emulator, succeeded=9, errored=1)
    assert conclude(emulator, batch_id, max_failure_rate=0.5) == batch_id
    assert "1 of 10 requests failed" in caplog.text
    assert "1 x not_found_error: model: claude-no-such-model" in caplog.text


def test_results_are_not_read_when_nothing_failed(emulator: Emulator) -> None:
    batch_id = failed_batch(emulator, succeeded=3, errored=0)
    conclude(emulator, batch_id)
    assert emulator.counters["results"] == 0


def test_results_that_are_not_found_right_after_the_end_are_asked_for_again(emulator: Emulator) -> None:
    batch_id = failed_batch(emulator, succeeded=0, errored=2)
    emulator.fault(Fault(endpoint="results", action="status", status=404, times=2))
    with pytest.raises(AirflowFailException, match="The commonest errors: 2 x not_found_error"):
        conclude(emulator, batch_id)


FAILURES: list[dict[str, Any]] = [
    {"action": "status", "status": 403},
    {"action": "status", "status": 429, "retry_after": 3600},
    {"action": "reset"},
]


@pytest.mark.parametrize("failure", FAILURES)
def test_results_that_cannot_be_read_do_not_hide_the_verdict(emulator: Emulator, failure: dict[str, Any]) -> None:
    batch_id = failed_batch(emulator, succeeded=0, errored=2)
    emulator.fault(Fault(endpoint="results", times=None, **failure))
    with pytest.raises(
        AirflowFailException, match=r"without a single success .*Reading its results failed after 0 lines"
    ):
        conclude(emulator, batch_id)


def test_a_lost_connection_does_not_hide_the_verdict(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id = failed_batch(emulator, succeeded=0, errored=2)
    event = ended(batch_id, errored=2)
    monkeypatch.delenv("AIRFLOW_CONN_ANTHROPIC_DEFAULT")
    with pytest.raises(AirflowFailException, match=r"without a single success .*Reading its results failed"):
        operator().execute_complete(context(), event)


@pytest.mark.parametrize(("errored", "passes"), [(0, True), (3, False)])
def test_counts_that_cannot_be_read_are_counted_in_the_results(emulator: Emulator, errored: int, passes: bool) -> None:
    batch_id = failed_batch(emulator, succeeded=5, errored=errored)
    unknown = Outcome(ending=Ending.ENDED, batch_id=batch_id, status="ended", counts=Counts(known=False)).to_event()
    if passes:
        assert operator(max_failure_rate=0.05).execute_complete(context(), unknown) == batch_id
    else:
        with pytest.raises(AirflowFailException, match=r"37\.50% of the requests failed.*\(5 succeeded, 3 errored\)"):
            operator(max_failure_rate=0.05).execute_complete(context(), unknown)


def test_counts_that_stay_unknown_are_retried_and_never_green(emulator: Emulator) -> None:
    batch_id = failed_batch(emulator, succeeded=5, errored=0)
    emulator.fault(Fault(endpoint="results", action="status", status=403, times=None))
    unknown = Outcome(ending=Ending.ENDED, batch_id=batch_id, status="ended", counts=Counts(known=False)).to_event()
    with pytest.raises(AirflowException, match="how many requests succeeded is not known") as caught:
        operator().execute_complete(context(), unknown)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_first_poll_that_reaches_no_api_says_where_it_went(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_batches.api.client.RetryPolicy", lambda: ONCE)
    emulator.configure(processing_time=3600.0)
    task = operator()
    fields = {"conn_type": "anthropicbatches", "password": "key", "host": "http://localhost:1"}
    monkeypatch.setenv("AIRFLOW_CONN_TYPO", json.dumps(fields))
    task.conn_id = "typo"
    with task.client() as client, pytest.raises(AirflowException) as caught:
        task.wait_for_batch(client, "msgbatch_1")
    assert "Connection 'typo' (http://localhost:1): the API was not reached for the first poll" in str(caught.value)
    assert not isinstance(caught.value, AirflowFailException)


PAGES: list[dict[str, Any]] = [
    {"status_code": 200, "text": "<html>Please log in</html>"},
    {"status_code": 403, "text": "<html>Blocked</html>"},
    {"status_code": 302, "headers": {"location": "https://login.example"}},
]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_first_poll_that_reaches_another_server_raises_and_a_retry_may_help(
    emulator: Emulator, page: dict[str, Any], deferrable: bool
) -> None:
    task = operator(deferrable=deferrable)
    with requests_mock.Mocker() as http, task.client() as client:
        http.get(f"{emulator.url}/v1/messages/batches/msgbatch_1", **page)
        with pytest.raises(
            AirflowException, match="the API was not reached for the first poll of msgbatch_1"
        ) as caught:
            task.wait_for_batch(client, "msgbatch_1")
    assert not isinstance(caught.value, AirflowFailException)


def test_a_blip_after_the_submission_defers_and_is_told(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("airflow_batches.api.client.RetryPolicy", lambda: ONCE)
    emulator.fault(Fault(endpoint="get", action="reset", times=None))
    with pytest.raises(TaskDeferred):
        run(operator())
    assert re.search("is waited for, but polls fail; last error: .*: the connection failed", caplog.text)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_of_the_first_poll_does_not_end_the_wait(emulator: Emulator, status: int) -> None:
    emulator.fault(Fault(endpoint="get", action="status", status=status))
    with pytest.raises(TaskDeferred):
        run(operator())


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_stands_fails_a_blocking_task_and_a_retry_may_help(
    emulator: Emulator, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = timedelta(seconds=0.2)
    watch = partial(Watch, since=time.time(), refusal_grace=short, missing_grace=short)
    monkeypatch.setattr(MessageBatchSubmitOperator, "_watch", lambda _, batch_id: watch(batch_id=batch_id))
    emulator.fault(Fault(endpoint="get", action="status", status=status, times=None))
    with pytest.raises(
        AirflowException, match=rf"could not be polled: .*: {status} .*a retry of this task waits"
    ) as caught:
        run(operator(deferrable=False, poll_interval=0.05))
    assert not isinstance(caught.value, AirflowFailException)


def test_a_refusal_while_a_worker_waits_ends_nothing_if_it_passes(emulator: Emulator) -> None:
    emulator.configure(processing_time=0.5, retry_after=0)
    emulator.fault(Fault(endpoint="get", action="status", status=403, times=4))
    batch_id, _ = run(operator(deferrable=False, poll_interval=0.05))
    assert emulator.batches()[0]["id"] == batch_id


def test_a_lost_trigger_and_a_refused_last_look_is_airflows_error(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.configure(processing_time=3600.0)
    _, ti = run(operator(wait_for_completion=False))
    ctx = context()
    ctx["ti"] = ti  # type: ignore[typeddict-item]  # the stand-in
    emulator.fault(Fault(endpoint="get", action="status", status=403))
    with pytest.raises(TaskDeferralError):
        operator().resume_execution("__fail__", {"error": "Trigger failure"}, ctx)
    assert "the last poll of batch" in caplog.text


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, "text", {"ending": "no such ending"}])
def test_an_event_that_is_not_ours_can_be_retried_and_is_shown(event: object) -> None:
    with pytest.raises(AirflowException, match="not one of ours") as caught:
        operator().execute_complete(context(), event)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_timeout_leaves_the_batch_alone_and_can_be_retried(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0)
    with pytest.raises(AirflowException, match="still in_progress") as caught:
        run(operator(deferrable=False, poll_interval=0.1, timeout=0.3))
    assert not isinstance(caught.value, AirflowFailException)
    assert emulator.counters["cancel"] == 0


def test_a_timeout_cancels_the_batch_when_asked_to(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0)
    with pytest.raises(
        AirflowFailException, match=r"still in_progress\. It is canceling, .*still answered, and billed"
    ):
        run(operator(deferrable=False, poll_interval=0.1, timeout=0.3, cancel_on_timeout=True))
    assert emulator.batches()[0]["processing_status"] == "canceling"


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_timeout_whose_cancel_is_refused_says_that_the_batch_runs_on(
    emulator: Emulator, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_batches.api.client.RetryPolicy", lambda: ONCE)
    emulator.configure(processing_time=3600.0)
    emulator.fault(Fault(endpoint="cancel", action="status", status=status, times=None))
    with pytest.raises(CancelUnconfirmed, match=rf"was refused \(.*: {status} .*it is still in_progress: it runs on"):
        run(operator(deferrable=False, poll_interval=0.1, timeout=0.3, cancel_on_timeout=True))


def test_a_timeout_whose_cancel_is_refused_since_the_batch_has_ended_is_an_end_like_any_other(
    emulator: Emulator,
) -> None:
    emulator.configure(processing_time=3600.0, cancel_after_ended=400)
    batch_id, _ = run(operator(wait_for_completion=False))
    emulator.end(batch_id)
    emulator.fault(Fault(endpoint="get", action="status", status=403))
    late = Outcome(ending=Ending.TIMED_OUT, batch_id=batch_id, message="over").to_event()
    assert operator(cancel_on_timeout=True).execute_complete(context(), late) == batch_id


@pytest.mark.parametrize("answer", [200, 400])
def test_a_batch_that_has_ended_when_its_time_is_over_is_an_end_like_any_other(emulator: Emulator, answer: int) -> None:
    emulator.configure(cancel_after_ended=answer)
    batch_id, _ = run(operator())
    late = Outcome(ending=Ending.TIMED_OUT, batch_id=batch_id, message="over").to_event()
    assert operator(cancel_on_timeout=True).execute_complete(context(), late) == batch_id
    assert emulator.counters["cancel"] == 0


@pytest.mark.parametrize("options", [{"max_failure_rate": 5}, {"poll_interval": 0}, {"timeout": -1.0}])
def test_a_number_that_makes_no_sense_is_refused_when_the_dag_is_read(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"a share from 0 to 1|more than 0 seconds"):
        operator(**options)


def test_a_lost_trigger_still_gets_a_last_look_at_the_batch(emulator: Emulator) -> None:
    batch_id, ti = run(operator())
    ctx = context()
    ctx["ti"] = ti  # type: ignore[typeddict-item]  # the stand-in
    failed = {"error": "Trigger failure", "traceback": ["boom"]}
    assert operator().resume_execution("__fail__", failed, ctx) == batch_id


def test_a_lost_trigger_of_a_batch_that_goes_on_is_airflows_error(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0)
    _, ti = run(operator(wait_for_completion=False))
    ctx = context()
    ctx["ti"] = ti  # type: ignore[typeddict-item]  # the stand-in
    with pytest.raises(TaskDeferralError):
        operator().resume_execution("__fail__", {"error": "Trigger failure"}, ctx)
    assert emulator.counters["cancel"] == 0


def test_airflows_own_deferral_timeout_is_our_timeout(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0)
    _, ti = run(operator(wait_for_completion=False))
    ctx = context()
    ctx["ti"] = ti  # type: ignore[typeddict-item]  # the stand-in
    with pytest.raises(AirflowFailException, match="still in_progress"):
        operator(cancel_on_timeout=True).resume_execution("__fail__", {"error": "Trigger timeout"}, ctx)
    assert emulator.batches()[0]["processing_status"] == "canceling"


def test_a_resume_that_knows_no_batch_is_airflows_error() -> None:
    with pytest.raises(TaskDeferralTimeout):
        operator().resume_execution("__fail__", {"error": "Trigger timeout"}, context())


def test_a_refused_key_fails_the_task_for_good(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="create", action="status", status=401))
    with pytest.raises(AirflowFailException, match="401 authentication_error"):
        run(operator())


def test_a_missing_connection_fails_the_task_for_good() -> None:
    with pytest.raises(AirflowFailException, match="nowhere_default"):
        run(operator(conn_id="nowhere_default"))


def test_no_requests_fail_the_task_before_anything_is_sent(emulator: Emulator) -> None:
    with pytest.raises(AirflowFailException, match="requests holds no requests"):
        run(operator(requests=[]))
    assert emulator.counters["create"] == 0


def test_the_model_of_the_task_is_that_of_requests_that_name_none(emulator: Emulator) -> None:
    nameless = [{"custom_id": "a", "params": {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}}]
    _, ti = run(operator(requests=nameless, model="claude-opus-4-8"))
    assert ti.xcoms["receipt"]["models"] == ["claude-opus-4-8"]


def test_below_airflow_3_3_a_warning_says_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    operator().execute(context())
    assert "no task state store" in capsys.readouterr().out


def test_prompts_are_never_rendered_but_a_uri_is() -> None:
    with DAG("d"):
        prompts = operator(requests=some_requests(1, system="{{ not a template }} {% nor this %}"))
        uri = operator(requests="file:///data/{{ run_id }}.jsonl", task_id="uri")
        upstream = operator(requests=XComArg(uri), task_id="upstream")
    prompts.render_template_fields({"run_id": "today"})
    uri.render_template_fields({"run_id": "today"})
    assert isinstance(prompts.requests, Verbatim)
    assert isinstance(prompts.requests.given, list)
    assert prompts.requests.given[0]["params"]["system"] == "{{ not a template }} {% nor this %}"
    assert uri.requests == "file:///data/today.jsonl"
    assert upstream.upstream_task_ids == {"uri"}


def test_a_callable_is_called_on_the_worker_not_by_the_template_engine(emulator: Emulator) -> None:
    task = operator(requests=lambda: some_requests(2))
    task.render_template_fields(context())
    run(task)
    assert emulator.batches()[0]["request_counts"]["succeeded"] == 2


def test_a_generator_is_read_once_even_if_its_batch_had_to_be_looked_for(emulator: Emulator) -> None:
    emulator.configure(processing_time=0.5, retry_after=0)
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    task = operator(requests=(request for request in some_requests(3)), deferrable=False, poll_interval=0.1)
    with DAG("d") as dag:
        pass
    batch_id, _ = run(task, dag=dag)
    assert [batch["id"] for batch in emulator.batches()] == [batch_id]


def test_a_try_whose_requests_could_not_be_made_sends_nothing_and_records_nothing(emulator: Emulator) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield some_requests(1)[0]
        raise RuntimeError("the database is away")

    store = StateStore()
    with pytest.raises(RuntimeError, match="away"):
        run(operator(requests=rows), task_state_store=store)
    assert not store
    assert emulator.counters["create"] == 0


def test_what_another_task_gave_is_kept_out_of_airflows_sight() -> None:
    class Upstream(XComArg):
        def resolve(self, context: Any) -> Any:
            return some_requests(2)

        def iter_references(self) -> Any:
            return iter(())

    task = operator(requests=[])
    task.requests = Upstream()
    task.render_template_fields(context())
    assert isinstance(task.requests, Verbatim)
    assert repr(task.requests) == "2 requests"


@pytest.mark.parametrize(("version", "errored"), [("2023-06-01", 0), (None, 1)])
def test_the_connections_api_version_judges_sampling_parameters(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, version: str | None, errored: int
) -> None:
    fields = {"conn_type": "anthropicbatches", "password": emulator.api_key, "host": emulator.url}
    monkeypatch.setenv("AIRFLOW_CONN_ANTHROPIC_DEFAULT", json.dumps(fields | {"extra": {"anthropic_version": version}}))
    task = operator(requests=some_requests(1, temperature=0.5))
    if errored:
        with pytest.raises(AirflowFailException, match="temperature: not permitted since API version 2026-10-21"):
            run(task)
    else:
        run(task)
        assert emulator.batches()[0]["request_counts"]["succeeded"] == 1
