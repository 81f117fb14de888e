"""The exceptions of tables. All are `BatchesError`s.

BatchesError
├── AnswersMissing         the landed lines are not those of the rows' requests
└── InvalidRequest
    ├── OutputTypeError    an output type that the API or Arrow cannot take; nothing was sent
    └── NotPublished       a job's answers cannot be read yet
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_batches.api.errors import BatchesError, InvalidRequest


class OutputTypeError(InvalidRequest):
    """An output type cannot be sent as a schema, or has no columns; nothing was sent.

    :param name: the type, for the message.
    :param problems: each place in the schema, what is wrong there, and the cure.

    Example::

        try:
            output = OutputType.of(Invoice)
        except OutputTypeError as error:
            print(*error.problems, sep="\\n")
    """

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        listed = "".join(f"\n- {problem}" for problem in self.problems)
        super().__init__(f"The output type {name} cannot be used; nothing was sent:{listed}")


class AnswersMissing(BatchesError):
    """The landed lines are not those of the rows' requests; nothing more was published.

    Example::

        try:
            spool.take(numbers)
        except AnswersMissing as error:
            print(error)
    """


class NotPublished(InvalidRequest):
    """The folder holds a job that has not finished; run it again to continue it.

    Example::

        try:
            results = read_results("s3://lake/answers/")
        except NotPublished as error:
            print(error)
    """
