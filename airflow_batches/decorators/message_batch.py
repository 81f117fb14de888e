"""`@task.message_batch`: a function that yields or returns requests becomes a task that submits them as one batch.

    @task.message_batch(model="claude-haiku-4-5")
    def classify(rows):
        for row in rows:
            yield {"custom_id": row["id"], "params": {"max_tokens": 10, "messages": [...]}}

It may as well return the URI of a JSONL object. What it gives is never rendered by Jinja; texts among its arguments
are, as in any TaskFlow task. It runs once in each try, and again after a wait for a batch that may have been its own.
What it yields is written to local disk as it goes, and if it raises half-way, nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from airflow_batches._compat import determine_kwargs
from airflow_batches.operators.requests import Verbatim
from airflow_batches.operators.submit import MessageBatchSubmitOperator

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator


class _MessageBatchDecoratedOperator(DecoratedOperator, MessageBatchSubmitOperator):
    """Submits what a function gives; takes the submit operator's arguments beside the function's own."""

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        "model",
        "conn_id",
        "storage_conn_id",
        "resubmit",
    )
    custom_operator_name = "@task.message_batch"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, requests=python_callable, **kwargs
        )

    def execute(self, context: Context) -> str:
        """Submit what the function gives, or take up again what it gave before, then wait."""
        arguments = {**context, **self.op_kwargs}
        kwargs = determine_kwargs(self.python_callable, self.op_args, arguments)
        self.requests = Verbatim(partial(self.python_callable, *self.op_args, **kwargs))
        return MessageBatchSubmitOperator.execute(self, context)


def message_batch_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """What `@task.message_batch` is: the submit operator's arguments may be given to it."""
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_MessageBatchDecoratedOperator, **kwargs
    )
