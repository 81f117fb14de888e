"""What each fault action does, as four tables: one for each phase of a call.

ARRIVAL   the head has been read, the body has not.
EFFECT    the body has been read, the call has had no effect; `proceed` executes it and returns the answer.
LINES     results are about to be sent, in blocks of whole lines.
ANSWER    the call has taken effect, and the answer is a 200, in blocks as they are sent.

Calls that are refused for another reason never reach the last two phases, and use up no strike of a fault. An action is
a function of a few lines; it returns what to send instead, or raises Hangup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from airflow_batches.emulator.errors import EDGE_PAGES, KINDS, ErrorAnswer, edge_response, error_response
from airflow_batches.emulator.wire import Hangup, Response

if TYPE_CHECKING:
    from airflow_batches.emulator.call import Call
    from airflow_batches.emulator.faults import Fault

Proceed = Callable[[], Response]
Blocks = Iterable[bytes]
LineEdit = Callable[[bytes], bytes]
Table = Mapping[str, Callable[..., object]]
_HEADER: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+: [^\r\n\0]*")
_TICK: Final = 0.05  # seconds between two writes of a slow answer; chosen: far below any read timeout, no busy loop


def _drop_before_body(fault: Fault, call: Call) -> None:
    """The connection is reset before the request body is read."""
    raise Hangup(reset=True)


def _drop_in_body(fault: Fault, call: Call) -> None:
    """The connection is reset after `after_bytes` of the request body."""
    left = fault.after_bytes
    for block in call.body.blocks():
        left -= len(block)
        if left <= 0:
            break
    raise Hangup(reset=True)


def _status(fault: Fault, call: Call, proceed: Proceed) -> Response:
    """An answer of `status` with the body that the API (or its edge) sends; the call has no effect."""
    return _refusal(fault, call)


def _redirect(fault: Fault, call: Call, proceed: Proceed) -> Response:
    """302 to `location`; the call has no effect."""
    return Response(302, {"location": fault.location or "", **fault.headers})


def _reset(fault: Fault, call: Call, proceed: Proceed) -> Response:
    """The connection is reset before the first byte of the answer; the call has no effect."""
    raise Hangup(reset=True)


def _late_accept(fault: Fault, call: Call, proceed: Proceed) -> Response:
    """Accept the create after `seconds`, without an answer: the client has timed out by then."""
    call.connection.pause(fault.seconds)
    with suppress(ErrorAnswer):
        proceed()
    raise Hangup


def _drop_after_accept(fault: Fault, call: Call, response: Response) -> Response:
    """The call takes effect, then the connection is reset without an answer."""
    raise Hangup(reset=True)


def _error_after_accept(fault: Fault, call: Call, response: Response) -> Response:
    """The call takes effect, then the answer is an error (`status`)."""
    return _refusal(fault, call)


def _retry_after_on_200(fault: Fault, call: Call, response: Response) -> Response:
    """The answer carries `retry-after: seconds`."""
    return response.with_headers(**{"retry-after": f"{fault.seconds:g}"}, **fault.headers)


def _cut(fault: Fault, call: Call, response: Response) -> Response:
    """The body ends after `after_bytes` and the connection closes: its chunked encoding is incomplete."""
    return response.with_body(_then_hang_up(_first(response.blocks(), fault.after_bytes)))


def _stall(fault: Fault, call: Call, response: Response) -> Response:
    """After `after_bytes` nothing is sent for `seconds`, then the connection closes."""
    held = _first(response.blocks(), fault.after_bytes)
    return response.with_body(_then_hang_up(held, lambda: call.connection.pause(fault.seconds)))


def _end_early(fault: Fault, call: Call, response: Response) -> Response:
    """The body ends after `after_bytes`, properly terminated: it looks complete."""
    return response.with_body(_first(response.blocks(), fault.after_bytes))


def _slow(fault: Fault, call: Call, response: Response) -> Response:
    """The body is sent at `bytes_per_second`."""
    return response.with_body(_paced(response.blocks(), fault.bytes_per_second, call.connection.pause))


def _broken_json(fault: Fault, call: Call, response: Response) -> Response:
    """A 200 whose body is not JSON."""
    return response.with_body(b'{"id":"msgbatch_')


def _broken_line(fault: Fault, blocks: Blocks) -> Blocks:
    """`line` is cut in half, the next one follows."""
    return _with_line(blocks, fault.line, lambda line: line[: len(line) // 2] + b"\n")


def _torn_line(fault: Fault, blocks: Blocks) -> Blocks:
    """The body ends in the middle of `line`, properly terminated."""
    return _torn(blocks, fault.line)


def _duplicate_line(fault: Fault, blocks: Blocks) -> Blocks:
    """`line` is sent twice."""
    return _with_line(blocks, fault.line, lambda line: line + line)


def _missing_line(fault: Fault, blocks: Blocks) -> Blocks:
    """`line` is not sent."""
    return _with_line(blocks, fault.line, lambda line: b"")


def _foreign_line(fault: Fault, blocks: Blocks) -> Blocks:
    """Before `line`, a line is sent whose custom_id was never submitted."""
    foreign = b'{"custom_id":"foreign-line","result":{"type":"canceled"}}\n'
    return _with_line(blocks, fault.line, lambda line: foreign + line)


def _unknown_type_line(fault: Fault, blocks: Blocks) -> Blocks:
    """`line` has a result type that does not exist yet."""
    return _with_line(blocks, fault.line, _from_the_future)


ARRIVAL: Final[Mapping[str, Callable[[Fault, Call], None]]] = {
    "drop_before_body": _drop_before_body,
    "drop_in_body": _drop_in_body,
}
EFFECT: Final[Mapping[str, Callable[[Fault, Call, Proceed], Response]]] = {
    "status": _status,
    "redirect": _redirect,
    "reset": _reset,
    "late_accept": _late_accept,
}
LINES: Final[Mapping[str, Callable[[Fault, Blocks], Blocks]]] = {
    "broken_line": _broken_line,
    "torn_line": _torn_line,
    "duplicate_line": _duplicate_line,
    "missing_line": _missing_line,
    "foreign_line": _foreign_line,
    "unknown_type_line": _unknown_type_line,
}
ANSWER: Final[Mapping[str, Callable[[Fault, Call, Response], Response]]] = {
    "drop_after_accept": _drop_after_accept,
    "error_after_accept": _error_after_accept,
    "retry_after_on_200": _retry_after_on_200,
    "cut": _cut,
    "stall": _stall,
    "end_early": _end_early,
    "slow": _slow,
    "broken_json": _broken_json,
}
ACTIONS: Final[Mapping[str, str]] = {
    name: function.__doc__ or "" for table in (ARRIVAL, EFFECT, LINES, ANSWER) for name, function in table.items()
}
"""Every action and what it does."""


def check(fault: Fault) -> None:
    """Raise ValueError for a fault whose action is unknown or can never apply."""
    if fault.action not in ACTIONS:
        raise ValueError(f"No action is named {fault.action!r}; known are {', '.join(ACTIONS)}.")
    if fault.action in LINES and fault.endpoint != "results":
        raise ValueError(f"{fault.action} changes result lines: its endpoint is results, not {fault.endpoint}.")
    if fault.action == "redirect" and not fault.location:
        raise ValueError("The action redirect needs a location.")
    sent = {**fault.headers, "location": fault.location or ""}
    if broken := [name for name, value in sent.items() if not _HEADER.fullmatch(f"{name}: {value}")]:
        raise ValueError(f"HTTP has no such header: {', '.join(map(repr, broken))}.")


def _refusal(fault: Fault, call: Call) -> Response:
    headers = dict(fault.headers)
    wait = fault.retry_after
    if wait is msgspec.UNSET:
        wait = 1.0 if fault.status == 429 else None
    if wait is not None:
        headers.setdefault("retry-after", f"{wait:g}")
    if fault.status in EDGE_PAGES or (fault.status == 413 and fault.message is None):
        return edge_response(fault.status, headers)
    if fault.status not in KINDS and fault.status < 400:
        return Response(fault.status, headers)
    error = ErrorAnswer(fault.status, fault.message, kind=fault.error_type, headers=headers)
    return error_response(error, call.request_id)


def _first(blocks: Blocks, size: int) -> Iterator[bytes]:
    for block in blocks:
        if size <= 0:
            return
        yield block[:size]
        size -= len(block)


def _then_hang_up(blocks: Blocks, before: Callable[[], None] | None = None) -> Iterator[bytes]:
    yield from blocks
    if before is not None:
        before()
    raise Hangup


def _paced(blocks: Blocks, pace: int, pause: Callable[[float], None]) -> Iterator[bytes]:
    size = max(1, int(pace * _TICK))
    for block in blocks:
        for start in range(0, len(block), size):
            yield block[start : start + size]
            pause(size / pace)


def _with_line(blocks: Blocks, number: int, edit: LineEdit) -> Iterator[bytes]:
    """Yield the blocks with one line edited; unchanged if there is no such line."""
    for block in blocks:
        count = block.count(b"\n")
        if 0 <= number < count:
            lines = block.split(b"\n")
            before, after = lines[:number], lines[number + 1 :]
            block = b"".join(line + b"\n" for line in before) + edit(lines[number] + b"\n") + b"\n".join(after)
        number -= count
        yield block


def _torn(blocks: Blocks, number: int) -> Iterator[bytes]:
    for block in blocks:
        lines = block.split(b"\n")
        if number < len(lines) - 1:
            yield b"\n".join([*lines[:number], lines[number][: len(lines[number]) // 2]])
            return
        number -= len(lines) - 1
        yield block


def _from_the_future(line: bytes) -> bytes:
    custom_id = msgspec.json.decode(line)["custom_id"]
    return msgspec.json.encode({"custom_id": custom_id, "result": {"type": "postponed", "until": None}}) + b"\n"
