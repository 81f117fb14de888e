"""Read JSONL as requests.

Lines are numbered and decoded only as far as needed; their bytes stay unchanged.

Only the byte \\n ends a line. A \\r before it is dropped. Blank lines are skipped but counted, so that line numbers are
those of an editor. A last line without \\n is kept. The byte order mark of UTF-8 before the first line is dropped, but
offsets count it.

A line is changed in one case: it has no model and a default is given. Then the default becomes the first member of its
params. A line that is not UTF-8 JSON with a text `custom_id` and an object `params` cannot be part of a body.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import accumulate, islice
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from airflow_batches.api.limits import MAX_BODY_BYTES
from airflow_batches.submission.errors import PreflightError
from airflow_batches.submission.formats import UTF8_MARK

RUN_BYTES: Final = 1 << 17
"""Bytes of the lines that are checked together. Chosen to fit in a processor's cache. Measured: the first reading takes
a quarter less time than line by line."""


class Unreadable(ValueError):
    """Raised for a line that is not a request; the message says why."""


class RequestLine(msgspec.Struct, frozen=True, gc=False):
    """A request as it is sent.

    `data` is its JSON, `model` the model that answers it (None: unknown), `canonical` its canonical JSON, or empty if
    that is not known yet.
    """

    custom_id: str
    data: bytes
    model: str | None
    canonical: bytes = b""


class LineRun(msgspec.Struct, frozen=True):
    """Consecutive complete lines. `data` is their bytes, `lines` the same without newlines.

    `before` is the number of lines before them, `start` the number of bytes.
    """

    before: int
    start: int
    data: bytes
    lines: list[bytes]

    def ends(self) -> list[int]:
        """Return the offset of the end of each line, its newline included."""
        starts = accumulate([len(line) + 1 for line in self.lines[:-1]], initial=self.start)
        return [*islice(starts, 1, None), self.start + len(self.data)]

    def numbered(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield each line that is not blank: its number from 1, the offset of its end, its bytes."""
        for number, (line, end) in enumerate(zip(self.lines, self.ends(), strict=True), self.before + 1):
            if line and not line.isspace():
                yield number, end, line.removesuffix(b"\r")

    def next(self, data: bytes) -> LineRun:
        """Return the run that follows this one and holds these bytes."""
        if not self.data and data.startswith(UTF8_MARK):
            return LineRun(0, 0, UTF8_MARK, []).next(data.removeprefix(UTF8_MARK))
        lines = data.removesuffix(b"\n").split(b"\n")
        return LineRun(self.before + len(self.lines), self.start + len(self.data), data, lines)


def line_runs(blocks: Iterable[bytes]) -> Iterator[LineRun]:
    """Yield all lines, in runs of about `RUN_BYTES` or of one longer line.

    :raises PreflightError: when a line is longer than a whole body may be, before it is in memory.
    """
    run = LineRun(0, 0, b"", [])
    held: list[bytes] = []
    for block in blocks:
        start = 0
        while end := block.rfind(b"\n", start, start + RUN_BYTES) + 1 or block.find(b"\n", start) + 1:
            run = run.next(b"".join([*held, block[start:end]]))
            held.clear()
            yield run
            start = end
        held.append(block[start:])
        if sum(map(len, held)) > MAX_BODY_BYTES:
            number = run.before + len(run.lines) + 1
            raise PreflightError(f"line {number:,} is longer than a whole batch may be ({MAX_BODY_BYTES:,} bytes)")
    if rest := b"".join(held):
        yield run.next(rest)


class _LineParams(msgspec.Struct):
    model: Any = UNSET


class _Line(msgspec.Struct):
    custom_id: str
    params: _LineParams


class _RawParams(msgspec.Struct):
    params: Raw


_line = msgspec.json.Decoder(_Line)
_raw_params = msgspec.json.Decoder(_RawParams)


def request_line(raw: bytes, default_model: str | None) -> RequestLine:
    """Read a line as a request.

    :raises Unreadable: when it is not one.
    """
    try:
        if not raw.isascii():
            raw.decode()
        request = _line.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Unreadable(f"not a request: {exc}") from exc
    model = request.params.model
    if model is UNSET:
        return with_model(request.custom_id, raw, default_model)
    return RequestLine(request.custom_id, raw, model if isinstance(model, str) else None)


def with_model(custom_id: str, raw: bytes, model: str | None) -> RequestLine:
    """Make a request from a line that names no model, with this model; None: unchanged."""
    if model is None:
        return RequestLine(custom_id, raw, None)
    members = bytes(_raw_params.decode(raw).params).strip().removeprefix(b"{").lstrip()
    separator = b"" if members.startswith(b"}") else b","
    head = b'{"custom_id":%b,"params":{"model":%b' % (msgspec.json.encode(custom_id), msgspec.json.encode(model))
    return RequestLine(custom_id, head + separator + members + b"}", model)


def numbered_ids(blocks: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Yield the custom_ids of the requests that can be read, each with its line number."""
    for run in line_runs(blocks):
        for number, _, raw in run.numbered():
            with suppress(Unreadable):
                yield number, request_line(raw, None).custom_id
