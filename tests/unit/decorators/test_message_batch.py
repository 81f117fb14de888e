"""`@task.message_batch` as a task, one leg at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_batches._compat import AirflowFailException
from airflow_batches.decorators.message_batch import message_batch_task
from airflow_batches.emulator import Emulator
from tests.contexts import StateStore, context
from tests.samples import some_requests
from tests.unit.submission.helpers import jsonl

pytestmark = pytest.mark.usefixtures("connection")


def execute(function: Any, *args: Any, **options: Any) -> str:
    """Run the task that a function becomes."""
    with DAG("d"):
        operator = task.message_batch(**options)(function)(*args).operator
    ctx = context(task_state_store=StateStore())
    operator.render_template_fields(ctx)
    batch_id: str = operator.execute(ctx)
    return batch_id


def test_a_function_that_yields_and_one_that_returns_become_a_batch(emulator: Emulator) -> None:
    def yields(count: int) -> Iterator[dict[str, Any]]:
        yield from some_requests(count)

    def returns(count: int) -> list[dict[str, Any]]:
        return some_requests(count)

    batches = [execute(yields, 3), execute(returns, 4)]
    assert [batch["id"] for batch in emulator.batches()] == batches[::-1]
    assert [batch["request_counts"]["succeeded"] for batch in emulator.batches()] == [4, 3]


def test_a_function_may_return_a_uri(emulator: Emulator, tmp_path: Path) -> None:
    def uri() -> str:
        return jsonl(tmp_path / "r.jsonl", some_requests(2))

    assert execute(uri) == emulator.batches()[0]["id"]


def test_a_function_may_ask_for_the_context(emulator: Emulator) -> None:
    def asks(ti: Any = None) -> list[dict[str, Any]]:
        return some_requests(1, prefix=ti.task_id)

    assert execute(asks) == emulator.batches()[0]["id"]


def test_the_operators_arguments_are_the_decorators(emulator: Emulator) -> None:
    def no_model() -> list[dict[str, Any]]:
        requests = some_requests(1)
        del requests[0]["params"]["model"]
        return requests

    execute(no_model, model="claude-haiku-4-5")
    assert emulator.batches()[0]["request_counts"]["succeeded"] == 1


def test_a_function_that_raises_half_way_sends_nothing(emulator: Emulator) -> None:
    def raises() -> Iterator[dict[str, Any]]:
        yield from some_requests(5)
        raise LookupError("the database went away")

    with pytest.raises(LookupError, match="the database went away"):
        execute(raises)
    assert emulator.batches() == []


def test_a_function_that_gives_nothing_fails_at_once(emulator: Emulator) -> None:
    def nothing() -> None:
        pass

    with pytest.raises(AirflowFailException, match="not NoneType"):
        execute(nothing)
    assert emulator.batches() == []


def test_braces_in_what_it_gives_stay(emulator: Emulator) -> None:
    def braces() -> list[dict[str, Any]]:
        return some_requests(1, system="{{ not_a_variable }} {% nor this %}")

    execute(braces)
    assert emulator.counters["create"] == 1


def test_it_is_registered_with_airflow() -> None:
    assert task.message_batch is message_batch_task
