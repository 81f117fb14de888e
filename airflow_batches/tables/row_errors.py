"""The errors of rows and their prompts. Both are found before anything is sent.

InvalidRequest
├── RowsError     the rows cannot be read as one table; a retry helps only after a person has changed something
└── PromptError   a row's prompt cannot be made

In addition, a source without rows is an `EmptySource`, and files that change while they are read are a `SourceChanged`.
"""

from __future__ import annotations

from airflow_batches.api.errors import InvalidRequest


class RowsError(InvalidRequest):
    """The rows cannot be read as one table; nothing was sent.

    Example::

        try:
            RowSource.of("s3://lake/reviews/").schema
        except RowsError as error:
            print(error)
    """


class PromptError(InvalidRequest):
    """The prompt of a row cannot be made; nothing was sent.

    :param place: the file and the row, for people.
    :param reason: what is wrong.
    :param file: the file's URI; None if the rows come from no file.
    :param row: the number of the row in its file, from 1.
    :param column: the column whose value is wrong; None if it is not one column.

    Example::

        try:
            planned = [*requests.requests("job", None)]
        except PromptError as error:
            print(error.file, error.row, error.column)
    """

    def __init__(self, place: str, reason: str, *, file: str | None, row: int, column: str | None = None) -> None:
        self.file = file
        self.row = row
        self.column = column
        named = place if column is None else f"{place}, column {column!r}"
        super().__init__(f"{named}: {reason}. Nothing was sent")
