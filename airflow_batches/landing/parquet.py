"""Result lines as a Parquet table, for people who ask with SQL (needs `pyarrow`, extra `parquet`).

| column                                                                          | holds                           |
|---------------------------------------------------------------------------------|---------------------------------|
| custom_id, type                                                                 | whose it is, how it ended       |
| text, stop_reason, model                                                        | the answer, text blocks joined  |
| input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens | its usage                     |
| error_type, error_message                                                       | why it failed                   |
| json                                                                            | the line as it came             |

Rules: what a line lacks is null. A row group is written when its lines have 4 MiB, so memory does not grow with the
batch.
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
    """Whole lines in, bytes of the table out."""

    def __init__(self) -> None:
        self._made = _Collected()
        self._writer = pq.ParquetWriter(self._made, SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._held = 0

    def encode(self, lines: bytes) -> bytes:
        """Takes lines; gives the table's bytes once a row group is full."""
        self._rows += [row(line) for line in lines.split(b"\n") if line.strip()]
        self._held += len(lines)
        if self._held >= ROW_GROUP_BYTES:
            self._write_group()
        return self._made.taken()

    def finish(self) -> bytes:
        """The last row group and the table's end."""
        if self._rows:
            self._write_group()
        self._writer.close()
        return self._made.taken()

    def _write_group(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows, self._held = [], 0


class _Collected:
    """A file for pyarrow to write to, emptied as it fills."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._at += len(self._parts[-1])
        return len(self._parts[-1])

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing is held back."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def row(line: bytes) -> dict[str, Any]:
    """A line's columns; of one that Python cannot read, no more than what it is. Raises `DecodeError`."""
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
    known = {"custom_id": result.custom_id, "type": result.result.type, "json": line.decode(errors="replace")}
    return dict.fromkeys(SCHEMA.names) | known


def _text_of(message: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    if not isinstance(content, list):
        return None
    texts = (block.get("text") for block in map(_object, content) if block.get("type") == "text")
    return _string("".join(text for text in texts if isinstance(text, str)))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str | None:
    """UTF-8 has no place for half a surrogate pair, which JSON can name."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None
