"""Result lines, made while they are read, with keys in the order recorded live.

A succeeded line has the shape of 2026-09 (`container` and `diagnostics` null). Each shape of a batch becomes a
template once; a line is then one formatting of bytes, so that 100,000 lines cost little more than copying them.
Message ids are computed from the batch and the position in it, so that every read of the results gives the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from airflow_batches.emulator import ids
from airflow_batches.emulator.content import thinking_block
from airflow_batches.emulator.errors import error_object
from airflow_batches.emulator.lifecycle import StoredBatch
from airflow_batches.emulator.lines import CheckedLine, LineOutcome, Lines, Shape
from airflow_batches.emulator.tokens import count_answer, tokenizer_factor

_BLOCK_BYTES: Final = 262_144
"""Bytes of a block of lines; chosen: as the default `chunk_bytes`, so that a block is sent in about one piece."""
_VARIANTS: Final = 16
"""Different texts of `answer_chars`; chosen: neighbouring lines differ, and all texts are built in no time."""
_PROSE: Final = (
    "The request was read in full and answered in order. Amounts are given in euro, dates in ISO form;"
    " names — where the text has several spellings — follow the first mention. "
)
_UNRUN: Final = b'{"custom_id":"%b","result":{"type":"%b"}}\n'
_NAMES: Final[Mapping[int, bytes]] = {LineOutcome.EXPIRED: b"expired", LineOutcome.CANCELED: b"canceled"}

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
    formats = _Formats(lines, batch.id, batch.answer_chars)
    for place in places:
        if place >= done:
            yield _UNRUN % (custom_ids[place], rest)
        elif outcomes[place] >= LineOutcome.EXPIRED:
            yield _UNRUN % (custom_ids[place], _NAMES[outcomes[place]])
        else:
            yield formats[numbers[place]](custom_ids[place], place)


def single_result(line: CheckedLine, seed: str) -> dict[str, Any]:
    """Return the result of one line outside a batch; its ids are computed from the seed.

    :param line: a line that succeeded or errored.
    """
    formats = _Formats(Lines.gather([("single", line)]), seed, None)
    decoded: dict[str, Any] = msgspec.json.decode(formats[0](b"single", 0))["result"]
    return decoded


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

    def __init__(self, lines: Lines, batch_id: str, answer_chars: int | None) -> None:
        self._shapes = lines.shapes
        self._texts = lines.texts.split(b"\n")
        self._input, self._output = lines.input_counts(), lines.output_counts()
        self._fill = None if answer_chars is None else _fillers(answer_chars)
        self._messages = ids.series("msg_011C", batch_id)
        self._workers = ids.series("workerreq_01", batch_id)
        self._uses = ids.series("toolu_01", batch_id)

    def __missing__(self, number: int) -> _Format:
        shape = self._shapes[number]
        self[number] = made = self._format(shape)
        return made

    def _format(self, shape: Shape) -> _Format:
        if shape.error_type is not None:
            return self._errored(shape)
        if shape.kind == "echo" and self._fill is not None:
            return self._filled(shape, self._fill)
        return {"tool": self._used_tool, "result": self._verbatim}.get(shape.kind, self._answered)(shape)

    def _errored(self, shape: Shape) -> _Format:
        details = None if shape.ran else {"error_visibility": "user_facing"}
        error = {"details": details} | error_object(shape.error_type or "", shape.error_message)
        if shape.error_details:
            error["details"] = msgspec.Raw(shape.error_details.encode())
        head, tail = b'{"custom_id":"', b'","result":{"type":"errored","error":{"type":"error","error":%b,"request_id":'
        middle = tail % msgspec.json.encode(error)
        if not shape.ran:
            return lambda custom_id, _: head + custom_id + middle + b"null}}}\n"
        workers = self._workers
        return lambda custom_id, place: head + custom_id + middle + b'"' + ids.member(workers, place) + b'"}}}\n'

    def _answered(self, shape: Shape) -> _Format:
        template, texts, messages = _template(shape), self._texts, self._messages
        tokens, output = self._input, self._output

        def line(custom_id: bytes, place: int) -> bytes:
            message = ids.member(messages, place)
            return template % (custom_id, message, texts[place], tokens[place], output[place])

        return line

    def _filled(self, shape: Shape, fill: Sequence[bytes]) -> _Format:
        count = shape.thinking_tokens + count_answer(fill[0].decode(), tokenizer_factor(shape.model))
        if count > shape.max_tokens:
            shape = msgspec.structs.replace(shape, stop_reason="max_tokens")
        template, messages, tokens = _template(shape), self._messages, self._input
        count = min(count, shape.max_tokens)

        def line(custom_id: bytes, place: int) -> bytes:
            message = ids.member(messages, place)
            return template % (custom_id, message, fill[place % _VARIANTS], tokens[place], count)

        return line

    def _used_tool(self, shape: Shape) -> _Format:
        template, texts, messages, uses = _template(shape), self._texts, self._messages, self._uses
        tokens, output = self._input, self._output

        def line(custom_id: bytes, place: int) -> bytes:
            message, use = ids.member(messages, place), ids.member(uses, place)
            return template % (custom_id, message, use, texts[place], tokens[place], output[place])

        return line

    def _verbatim(self, shape: Shape) -> _Format:
        texts = self._texts
        return lambda custom_id, place: b'{"custom_id":"%b","result":%b}\n' % (custom_id, texts[place])


def _content(shape: Shape) -> bytes:
    """Return the template of a message's content, without its brackets."""
    before = b"" if shape.thinking is None else _escaped(thinking_block(shape.thinking)) + b","
    if shape.kind == "content":
        return b"%b"
    if shape.kind == "tool":
        name = _escaped(msgspec.json.encode(shape.tool))
        return before + b'{"type":"tool_use","id":"%%b","name":%b,"input":%%b,"caller":{"type":"direct"}}' % name
    return before + b'{"type":"text","text":"%b"}'


def _template(shape: Shape) -> bytes:
    """Return a line as a template of its custom_id, message id, text, and tokens."""
    thinking = b',"output_tokens_details":{"thinking_tokens":%d}' % shape.thinking_tokens if shape.adaptive else b""
    written_5m, written_1h, read = shape.cached
    return (
        b'{"custom_id":"%%b","result":{"type":"succeeded","message":{"model":%b,"id":"%%b","type":"message",'
        b'"role":"assistant","content":[%b],"container":null,"stop_reason":%b,"stop_sequence":%b,'
        b'"stop_details":%b,"usage":{"input_tokens":%%d,"cache_creation_input_tokens":%d,'
        b'"cache_read_input_tokens":%d,"cache_creation":{"ephemeral_5m_input_tokens":%d,'
        b'"ephemeral_1h_input_tokens":%d},"output_tokens":%%d,"service_tier":"batch","inference_geo":%b%b},'
        b'"diagnostics":null}}}\n'
    ) % (
        _escaped(msgspec.json.encode(shape.model)),
        _content(shape),
        _escaped(msgspec.json.encode(shape.stop_reason)),
        _escaped(msgspec.json.encode(shape.stop_sequence)),
        _escaped(shape.stop_details.encode()),
        written_5m + written_1h,
        read,
        written_5m,
        written_1h,
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
