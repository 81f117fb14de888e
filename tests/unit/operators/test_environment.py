"""A worker whose environment names certificates that do not exist: told as such, by everything that calls the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from airflow_batches.api import BatchesError
from airflow_batches.cli import main
from airflow_batches.operators import (
    MessageBatchCancelOperator,
    MessageBatchDeleteOperator,
    MessageBatchResultsOperator,
    MessageBatchSubmitOperator,
)
from tests.contexts import context
from tests.samples import some_requests

TOLD = "REQUESTS_CA_BUNDLE names '/gone.pem', which does not exist"


@pytest.fixture(autouse=True)
def _broken(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"conn_type": "anthropicbatches", "password": "sk-ant-test", "host": "https://localhost:1"}
    monkeypatch.setenv("AIRFLOW_CONN_ANTHROPIC_DEFAULT", json.dumps(fields))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/gone.pem")


CALLS: Mapping[str, Callable[[Path], object]] = {
    "cancel": lambda _: MessageBatchCancelOperator(task_id="t", batch_id="b").execute(context()),
    "delete": lambda _: MessageBatchDeleteOperator(task_id="t", batch_id="b").execute(context()),
    "land": lambda folder: MessageBatchResultsOperator(
        task_id="t", batch_id="b", path=f"file://{folder}/out.jsonl", timeout=5
    ).execute(context()),
    "submit": lambda _: MessageBatchSubmitOperator(task_id="t", requests=some_requests(1)).execute(context()),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_task_fails_with_what_is_wrong_and_may_be_retried(call: str, tmp_path: Path) -> None:
    with pytest.raises(BatchesError) as caught:
        CALLS[call](tmp_path)
    assert f"Connection 'anthropic_default' (https://localhost:1): {TOLD}" in str(caught.value)


def test_the_terminal_tells_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    assert main(["land", "b", str(tmp_path / "out.jsonl"), "--base-url", "https://localhost:1", "--timeout", "5"]) == 1
    assert f"https://localhost:1: {TOLD}" in capsys.readouterr().err
