"""A create's body on its way out: cut small, measured, and known to be handed over or not.

Rules:
- At most `PIECE` bytes go to the socket at once. A socket's timeout is for handing over one piece: a whole body
  in one would have to pass even the slowest line within it.
- The last piece leaves only when all of the body has been read and is as long as it said. Up to there the server
  holds a fragment, and no batch can come of that.
- What the body raises while it is read reaches the caller as it is. Let through, an OSError of its own would be
  taken for one of the socket's, and some of those are ignored there: the call would hang for an answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from airflow_batches.api.errors import InvalidRequest

PIECE: Final = 65_536
"""Bytes."""


class RequestBody(Protocol):
    """A create's body that is never held whole: its exact length, and its bytes anew at each iteration."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...


class BodyFailed(Exception):
    """Carries an error of the body itself past requests and urllib3."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(error)


class Sending:
    """One attempt to send a body. `handed_over`: the socket has taken all of it."""

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
        self.handed_over = True  # asked for more, the socket has taken the last

    def _pieces(self) -> Iterator[bytes]:
        left = len(self)
        try:
            for block in (self._body,) if isinstance(self._body, bytes) else self._body:
                left -= len(block)
                if left < 0:
                    raise InvalidRequest(f"the body is longer than the {len(self):,} bytes that it said")
                for start in range(0, len(block), PIECE):
                    yield block[start : start + PIECE]
            if left:
                raise InvalidRequest(f"the body ended {left:,} bytes before the {len(self):,} that it said")
        except Exception as error:  # whatever it is, it is not the socket's
            raise BodyFailed(error) from error
