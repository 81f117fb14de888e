"""Result lines, made while they are read, with keys in the order recorded live.

A succeeded line has the shape of 2026-09 (`container` and `diagnostics` null). Each shape of a batch becomes a
template once; a line is then one formatting of bytes, so that 100,000 lines cost little more than copying them.
Message ids are computed from the batch and the position in it, so that every read of the results gives the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from airflow_batches.emulator import ids
from airflow_batches.emulator.errors import error_object
from airflow_batches.emulator.lifecycle import StoredBatch
from airflow_batches.emulator.lines import LineOutcome, Lines, Shape

_BLOCK_BYTES: Final = 262_144
"""Bytes of a block of lines; chosen: as the default `chunk_bytes`, so that a block is sent in about one piece."""
_VARIANTS: Final = 16
"""Different texts of `answer_chars`; chosen: neighbouring lines differ, and all texts are built in no time."""
_PROSE: Final = (
    "The request was read in full and answered in order. Amounts are given in euro, dates in ISO form;"
    " names — where the text has several spellings — follow the first mention. "
)
_UNRUN: Final = b'{"custom_id":"%b","result":{"type":"%b"}}\n'

_Format = Callable[[bytes, int], bytes]
"""custom_id and position in the batch -> line."""


def arrange(count: int, order: str, seed: str) -> Sequence[int]:
    """Return the positions of the lines in the order in which they are sent."""
    places: Sequence[int] = range(count)
    if order == "reversed":
        return places[::-1]
    if order == "submitted":
        return places
    shuffled = list(places)
    random.Random(seed).shuffle(shuffled)
    return shuffled


def result_blocks(batch: StoredBatch, lines: Lines, places: Sequence[int]) -> Iterator[bytes]:
    """Yield blocks of whole lines, each block of about a quarter of a megabyte."""
    block: list[bytes] = []
    size = 0
    for line in _lines(batch, lines, places):
        block.append(line)
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)


def _lines(batch: StoredBatch, lines: Lines, places: Sequence[int]) -> Iterator[bytes]:
    custom_ids = lines.ids.split(b"\n")
    outcomes, done, rest = lines.outcomes, batch.done, batch.rest.encode()
    numbers = lines.shape_numbers()
    formats = _Formats(batch, lines)
    for place in places:
        if place >= done:
            yield _UNRUN % (custom_ids[place], rest)
        elif outcomes[place] == LineOutcome.EXPIRED:
            yield _UNRUN % (custom_ids[place], b"expired")
        else:
            yield formats[numbers[place]](custom_ids[place], place)


def without_last_newline(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Drop the newline after the last line, as recorded live."""
    held = b""
    for block in blocks:
        if block:
            text = block.removesuffix(b"\n")
            yield held + text
            held = b"\n" if len(text) < len(block) else b""


class _Formats(dict[int, _Format]):
    """Shape number -> the function that formats its lines, made when first needed."""

    def __init__(self, batch: StoredBatch, lines: Lines) -> None:
        self._shapes = lines.shapes
        self._texts = lines.texts.split(b"\n")
        self._tokens = lines.token_counts()
        self._fill = None if batch.answer_chars is None else _fillers(batch.answer_chars)
        self._messages = ids.series("msg_011C", batch.id)
        self._workers = ids.series("workerreq_01", batch.id)
        self._uses = ids.series("toolu_01", batch.id)

    def __missing__(self, number: int) -> _Format:
        shape = self._shapes[number]
        if shape.error_type is not None:
            made = self._errored(shape)
        else:
            made = self._used_tool(shape) if shape.tool is not None else self._said(shape)
        self[number] = made
        return made

    def _errored(self, shape: Shape) -> _Format:
        details = None if shape.ran else {"error_visibility": "user_facing"}
        error = {"details": details} | error_object(shape.error_type or "", shape.error_message)
        head, tail = b'{"custom_id":"', b'","result":{"type":"errored","error":{"type":"error","error":%b,"request_id":'
        middle = tail % msgspec.json.encode(error)
        if not shape.ran:
            return lambda custom_id, _: head + custom_id + middle + b"null}}}\n"
        workers = self._workers
        return lambda custom_id, place: head + custom_id + middle + b'"' + ids.member(workers, place) + b'"}}}\n'

    def _said(self, shape: Shape) -> _Format:
        texts, tokens, messages, fill = self._texts, self._tokens, self._messages, self._fill
        if fill is not None and len(fill[0]) // 4 > shape.max_tokens:
            shape = msgspec.structs.replace(shape, stop_reason="max_tokens")
        template = _template(shape, b'{"type":"text","text":"%b"}')

        def line(custom_id: bytes, place: int) -> bytes:
            text = texts[place] if fill is None else fill[place % _VARIANTS]
            count = min(max(1, len(text) // 4), shape.max_tokens)
            return template % (custom_id, ids.member(messages, place), text, tokens[place], count)

        return line

    def _used_tool(self, shape: Shape) -> _Format:
        name = _escaped(msgspec.json.encode(shape.tool))
        block = b'{"type":"tool_use","id":"%%b","name":%b,"input":%%b,"caller":{"type":"direct"}}' % name
        template = _template(shape, block)
        texts, tokens, messages, uses = self._texts, self._tokens, self._messages, self._uses

        def line(custom_id: bytes, place: int) -> bytes:
            text, use = texts[place], ids.member(uses, place)
            count = max(1, len(text) // 4)
            return template % (custom_id, ids.member(messages, place), use, text, tokens[place], count)

        return line


def _template(shape: Shape, block: bytes) -> bytes:
    thinking = b',"output_tokens_details":{"thinking_tokens":0}' if shape.thinking else b""
    return (
        b'{"custom_id":"%%b","result":{"type":"succeeded","message":{"model":%b,"id":"%%b","type":"message",'
        b'"role":"assistant","content":[%b],"container":null,"stop_reason":%b,"stop_sequence":null,'
        b'"stop_details":null,"usage":{"input_tokens":%%d,"cache_creation_input_tokens":0,'
        b'"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,'
        b'"ephemeral_1h_input_tokens":0},"output_tokens":%%d,"service_tier":"batch","inference_geo":%b%b},'
        b'"diagnostics":null}}}\n'
    ) % (
        _escaped(msgspec.json.encode(shape.model)),
        block,
        msgspec.json.encode(shape.stop_reason),
        msgspec.json.encode(shape.geo),
        thinking,
    )


def _escaped(data: bytes) -> bytes:
    return data.replace(b"%", b"%%")


def _fillers(chars: int) -> list[bytes]:
    """Return texts of `chars` characters with different beginnings, escaped for JSON."""
    length = len(_PROSE)
    prose = _PROSE * (chars // length + 2)
    starts = [number * length // _VARIANTS for number in range(_VARIANTS)]
    return [msgspec.json.encode(prose[start : start + chars])[1:-1] for start in starts]
