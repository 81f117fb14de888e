"""A message as server-sent events (docs: "Streaming Messages"; recorded live, 2026-05).

Every block comes in one delta: a client that joins deltas cannot tell the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


def event_stream(message: dict[str, Any]) -> Iterator[bytes]:
    """Yield the events of a message, in the order of the API."""
    usage = message["usage"]
    begun = message | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    yield _event({"type": "message_start", "message": begun})
    yield _event({"type": "ping"})
    for index, block in enumerate(message["content"]):
        yield from (_event(event | {"index": index}) for event in _block_events(block))
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield _event({"type": "message_delta", "delta": delta, "usage": usage})
    yield _event({"type": "message_stop"})


def _block_events(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    empty, deltas = _taken_apart(block)
    yield {"type": "content_block_start", "index": 0, "content_block": empty}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}


def _taken_apart(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the block as it begins, and the deltas that complete it."""
    if block["type"] == "text":
        return block | {"text": ""}, [{"type": "text_delta", "text": block.get("text", "")}]
    if block["type"] == "tool_use":
        json = msgspec.json.encode(block.get("input", {})).decode()
        return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": json}]
    if block["type"] == "thinking":
        deltas = [{"type": f"{name}_delta", name: block[name]} for name in ("thinking", "signature") if name in block]
        return block | {"thinking": "", "signature": ""}, deltas
    return block, []


def _event(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event))
