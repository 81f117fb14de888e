"""Result lines as a Parquet table, to query with SQL (needs `pyarrow`, extra `parquet`).

| column                                                                          | holds                           |
|---------------------------------------------------------------------------------|---------------------------------|
| custom_id, type                                                                 | the request, how it ended       |
| text, stop_reason, model                                                        | the answer, text blocks joined  |
| input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens | its usage                     |
| error_type, error_message                                                       | why it failed                   |
| json                                                                            | the unchanged line              |

Rules: a value that a line lacks is null. A row group is written when its lines reach `ROW_GROUP_BYTES`, so that memory
does not grow with the batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from airflow_batches.api.errors import DecodeError
from airflow_batches.landing.lines import decode

ROW_GROUP_BYTES: Final = 4 * 2**20
"""Bytes of the lines in one row group. Chosen: some 2,000 lines of 2 KB, whose Python objects take tens of MB at most;
larger groups would read faster in some engines, but cost more memory here."""

USAGE: Final = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
TEXTS: Final = ("text", "stop_reason", "model")
ERRORS: Final = ("error_type", "error_message")
SCHEMA: Final = pa.schema(
    [
        pa.field("custom_id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in TEXTS),
        *(pa.field(name, pa.int64()) for name in USAGE),
        *(pa.field(name, pa.string()) for name in ERRORS),
        pa.field("json", pa.string(), nullable=False),
    ]
)


class ParquetEncoder:
    """An encoder from whole lines to the bytes of a table."""

    def __init__(self) -> None:
        self._made = _Collected()
        self._writer = pq.ParquetWriter(self._made, SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._held = 0

    def encode(self, lines: bytes) -> bytes:
        """Take lines; return the table's next bytes, empty until a row group is full."""
        self._rows += [row(line) for line in lines.split(b"\n") if line.strip()]
        self._held += len(lines)
        if self._held >= ROW_GROUP_BYTES:
            self._write_group()
        return self._made.take()

    def finish(self) -> bytes:
        """Return the last row group and the table's end."""
        if self._rows:
            self._write_group()
        self._writer.close()
        return self._made.take()

    def _write_group(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows, self._held = [], 0


class _Collected:
    """A file object for pyarrow whose bytes are taken while it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._at += len(self._parts[-1])
        return len(self._parts[-1])

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def row(line: bytes) -> dict[str, Any]:
    """Return a line's columns; only id, type and JSON if Python cannot read the rest.

    :raises DecodeError: the line is not a result.
    """
    try:
        value = json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError) as exc:
        return _bare_row(line, exc)
    result = value["result"]
    message, error = _object(result.get("message")), _object(result.get("error"))
    error = _object(error.get("error")) or error
    usage = _object(message.get("usage"))
    return {
        "custom_id": _string(value["custom_id"]),
        "type": _string(result["type"]),
        "text": _text_of(message),
        "stop_reason": _string(message.get("stop_reason")),
        "model": _string(message.get("model")),
        **{name: _integer(usage.get(name)) for name in USAGE},
        "error_type": _string(error.get("type")),
        "error_message": _string(error.get("message")),
        "json": line.decode(errors="replace"),
    }


def _bare_row(line: bytes, cause: Exception) -> dict[str, Any]:
    result = decode(line)
    if result is None:
        raise DecodeError(f"a result line cannot be read: {cause}") from cause
    columns = {"custom_id": result.custom_id, "type": result.result.type, "json": line.decode(errors="replace")}
    return dict.fromkeys(SCHEMA.names) | columns


def _text_of(message: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    if not isinstance(content, list):
        return None
    texts = (block.get("text") for block in map(_object, content) if block.get("type") == "text")
    return _string("".join(text for text in texts if isinstance(text, str)))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str | None:
    """Return a text that UTF-8 can hold.

    Half a surrogate pair, which JSON allows, becomes `?`.
    """
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None
