"""`@task.message_batch_job`: make a task that asks for an answer to each row; the function is the prompt.

    @task.message_batch_job(rows="s3://lake/reviews/", path="s3://lake/verdicts/{{ ds }}/", output_type=Verdict)
    def classify(row):
        return f"Classify this review: {row['text']}"

    classify()

The function's first parameter is the row, a mapping of its columns. It returns a text, messages, params, or None: no
request for that row. Further parameters are arguments of the task as in any TaskFlow task, and may name members of
Airflow's context. The function is called for each row once in each try, before anything is sent.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from airflow_batches._compat import determine_kwargs
from airflow_batches.operators.job import MessageBatchJobOperator

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator

POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class _MessageBatchJobDecoratedOperator(DecoratedOperator, MessageBatchJobOperator):
    """An operator that asks a function's prompt about each row; it takes the job operator's arguments too."""

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in MessageBatchJobOperator.template_fields if name != "requests"),
    )
    custom_operator_name = "@task.message_batch_job"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, prompt=python_callable, **kwargs
        )

    def prompt_for(self, context: Context) -> Callable[[Mapping[str, Any]], Any]:
        """Return the function with the task's arguments bound.

        :param context: Airflow's context.
        """
        kwargs = determine_kwargs(self.python_callable, self.op_args, {**context, **self.op_kwargs})
        return lambda row: self.python_callable(row, *self.op_args, **kwargs)


def message_batch_job_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make the decorator `@task.message_batch_job`.

    :param python_callable: the function, if the decorator is used without arguments.
    :param kwargs: arguments of `MessageBatchJobOperator`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        return task_decorator_factory(
            python_callable=without_row(function), decorated_operator_class=_MessageBatchJobDecoratedOperator, **kwargs
        )

    return decorate if python_callable is None else decorate(python_callable)  # type: ignore[return-value]


def without_row(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with a signature that lacks the row, which is no argument of the task.

    It has no annotations: Airflow would take what the prompt returns for what the task returns.

    :raises TypeError: it has no parameter for the row.

    Example::

        without_row(lambda row, tone: …)  # its signature is (tone)
    """
    signature = inspect.signature(function)
    parameters = [*signature.parameters.values()]
    if not parameters or parameters[0].kind not in POSITIONAL:
        raise TypeError(f"{function.__name__} must take the row as its first parameter")

    @wraps(function)
    def prompt(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    prompt.__signature__ = signature.replace(parameters=parameters[1:])  # type: ignore[attr-defined]
    prompt.__annotations__ = {}
    return prompt
