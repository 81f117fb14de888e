"""`@task.message_batch`: make a task that submits a function's requests as one batch.

    @task.message_batch(model="claude-haiku-4-5")
    def classify(rows):
        for row in rows:
            yield {"custom_id": row["id"], "params": {"max_tokens": 10, "messages": [...]}}

The function yields or returns requests, or returns the URI of a JSONL object. Jinja never renders them; it renders
texts among the function's arguments, as in any TaskFlow task. The function runs once in each try, and again after the
task has waited for a batch that may be its own. Yielded requests are written to local disk one by one; if the function
raises before its end, nothing is sent.
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
    """An operator that submits a function's requests.

    It takes the submit operator's arguments too.
    """

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
        """Submit the function's requests or re-attach to their batch, then wait.

        :return: the batch's id.
        """
        arguments = {**context, **self.op_kwargs}
        kwargs = determine_kwargs(self.python_callable, self.op_args, arguments)
        self.requests = Verbatim(partial(self.python_callable, *self.op_args, **kwargs))
        return MessageBatchSubmitOperator.execute(self, context)


def message_batch_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make the decorator `@task.message_batch`.

    :param python_callable: the function, if the decorator is used without arguments.
    :param kwargs: arguments of `MessageBatchSubmitOperator`.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_MessageBatchDecoratedOperator, **kwargs
    )
