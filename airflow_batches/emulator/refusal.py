"""Why the API refuses params: a message, an error type, and whether the line had begun to run."""

from __future__ import annotations


class Refused(Exception):
    """The reason why a line ends errored: message and error type.

    `ran` is true where the API notices only while the line runs; its error then names a worker's request.
    """

    def __init__(self, message: str, kind: str = "invalid_request_error", *, ran: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.ran = ran
