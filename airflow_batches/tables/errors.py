"""The exceptions of tables. All are `BatchesError`s.

InvalidRequest
└── OutputTypeError    an output type that the API or Arrow cannot take; nothing was sent
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_batches.api.errors import InvalidRequest


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
