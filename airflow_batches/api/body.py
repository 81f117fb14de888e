"""Send a create's body in small pieces, and record whether the socket took all of it.

Rules:
- At most `PIECE` bytes go to the socket at once. The socket's timeout applies to each send: a whole body in one send
  would have to pass a slow connection within that time.
- The last piece is sent only after the whole body was read and its length was right. Until then the server has a
  fragment, and cannot create a batch from it.
- Errors that the body raises while it is read reach the caller unchanged. Without `BodyFailed`, urllib3 would take an
  OSError of the body for one of the socket. It ignores some of those, and the call would wait for an answer forever.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from airflow_batches.api.errors import InvalidRequest

PIECE: Final = 65_536
"""Bytes. Chosen: at the default timeout of 10 s for a send, it passes any connection faster than 7 kB/s."""


class RequestBody(Protocol):
    """A create's body that is never in memory as a whole.

    `len()` is its exact length in bytes. Each iteration yields its bytes from the beginning.
    """

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...


class BodyFailed(Exception):
    """Carries an error of the body itself past requests and urllib3."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(error)


class Sending:
    """One attempt to send a body. `handed_over` is True once the socket has taken all of it."""

    def __init__(self, body: bytes | RequestBody) -> None:
        self._body = body
        self.handed_over = False

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        held = b""
        for piece in self._pieces():
            if held:
                yield held
            held = piece
        yield held
        self.handed_over = True  # urllib3 asks for the next piece only after it has sent the last one

    def _pieces(self) -> Iterator[bytes]:
        left = len(self)
        try:
            for block in (self._body,) if isinstance(self._body, bytes) else self._body:
                left -= len(block)
                if left < 0:
                    raise InvalidRequest(f"the body is longer than the {len(self):,} bytes of its length")
                for start in range(0, len(block), PIECE):
                    yield block[start : start + PIECE]
            if left:
                raise InvalidRequest(f"the body ended {left:,} bytes before the {len(self):,} of its length")
        except Exception as error:  # of any type: it is the body's, not the socket's
            raise BodyFailed(error) from error
