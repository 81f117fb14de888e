"""How failures of a task reach Airflow: which end it at once, and which have a stack trace."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from airflow_batches._compat import AirflowFailException
from airflow_batches.api import BatchesClient, TransportError
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.operators import (
    MessageBatchCancelOperator,
    MessageBatchDeleteOperator,
    MessageBatchSubmitOperator,
)
from airflow_batches.operators.failures import TRACE, task_errors
from tests.contexts import context

AT_EMULATOR = pytest.mark.usefixtures("connection")


def frames_of(error: BaseException) -> list[str]:
    """The files of an error's stack trace that are not this test's."""
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]


@AT_EMULATOR
def test_a_permanent_error_ends_the_task_without_the_traces_of_its_causes(emulator: Emulator) -> None:
    emulator.configure(api_key="sk-ant-other")
    with pytest.raises(AirflowFailException, match="The API key was refused") as failed:
        MessageBatchDeleteOperator(task_id="task", batch_id="msgbatch_1").execute(context())
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
    assert not [name for name in frames_of(failed.value) if "/airflow_batches/api/" in name]


def test_an_outage_is_retried_without_the_frames_of_the_http_library() -> None:
    with Emulator() as gone:
        url, key = gone.url, gone.api_key
    with pytest.raises(TransportError) as failed, task_errors(), BatchesClient(key, base_url=url, retry=ONCE) as client:
        client.get("msgbatch_1")
    assert failed.value.__cause__ is None
    assert frames_of(failed.value) == []


def test_the_whole_trace_is_logged_at_the_level_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "airflow_batches.operators.failures")
    with Emulator() as gone:
        url, key = gone.url, gone.api_key
    with pytest.raises(TransportError), task_errors(), BatchesClient(key, base_url=url, retry=ONCE) as client:
        client.get("msgbatch_1")
    (record,) = [record for record in caplog.records if record.getMessage() == TRACE]
    assert record.exc_info
    assert "in get" in caplog.text


@AT_EMULATOR
def test_an_error_of_the_users_function_keeps_its_stack_trace() -> None:
    def broken() -> list[dict[str, Any]]:
        raise ZeroDivisionError("mine")

    operator = MessageBatchSubmitOperator(task_id="task", requests=broken)
    with pytest.raises(ZeroDivisionError) as failed:
        operator.execute(context())
    assert traceback.extract_tb(failed.value.__traceback__)[-1].name == "broken"


@AT_EMULATOR
def test_an_answer_of_a_proxy_is_retried(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="get", action="status", status=404, headers={"server": "proxy"}, times=None))
    emulator.fault(Fault(endpoint="cancel", action="status", status=503, times=None))
    with pytest.raises(Exception, match=r"503|404") as failed:
        MessageBatchCancelOperator(task_id="task", batch_id="msgbatch_1").execute(context())
    assert failed.value.__cause__ is None
