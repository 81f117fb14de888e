"""An instance of a JSON schema: what a model might answer with structured output.

`pick` (any number) chooses a member of an enum or a branch of an anyOf, so that the lines of a batch differ, and the
same line always gets the same answer. A schema with instances larger than any answer gets an empty object: a schema
with `minLength` 10**10 once used all memory of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

_DEPTH: Final = 8
"""Levels of a schema that refers to itself; chosen: deep enough to show the nesting."""
_LARGEST: Final = 100_000
"""Values and characters of an instance; chosen: far above schemas in use, and built at once."""
_TEXTS: Final[Mapping[str, str]] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Any, pick: int) -> Any:
    """Return a value of the schema; an empty object if it is invalid or too large."""
    try:
        return _Instance(schema).value(schema, pick, _DEPTH) if isinstance(schema, dict) else {}
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError):
        return {}


def invalid_example(schema: Any, pick: int) -> str:
    """Return JSON that does not match the schema: a required member is missing, or the type is another one.

    Where neither can be told from the schema, the JSON is broken off, as when `max_tokens` cuts an answer.
    """
    root = schema if isinstance(schema, dict) else {}
    value, kind = example(schema, pick), root.get("type")
    required = [name for name in root.get("required", ()) if isinstance(value, dict) and name in value]
    if kind == "object" and required:
        return msgspec.json.encode({k: v for k, v in value.items() if k != required[pick % len(required)]}).decode()
    if isinstance(kind, str):
        return '"unexpected"' if kind != "string" else '{"unexpected":true}'
    return '{"unexpected":'


class _Instance:
    """Builds one instance; raises OverflowError when it grows larger than `_LARGEST`."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._left = _LARGEST

    def value(self, schema: Any, pick: int, depth: int) -> Any:
        self._spend(1)
        if not isinstance(schema, dict) or depth < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][pick % len(schema["enum"])]
        if "$ref" in schema:
            return self.value(self._referred(str(schema["$ref"])), pick, depth - 1)
        for branches in (schema.get("anyOf"), schema.get("oneOf")):
            if branches:
                return self.value(branches[pick % len(branches)], pick, depth - 1)
        if schema.get("allOf"):
            merged: dict[str, Any] = {}
            for part in schema["allOf"]:
                merged |= part if isinstance(part, dict) else {}
            return self.value(merged, pick, depth - 1)
        return self._typed(schema, pick, depth)

    def _typed(self, schema: Mapping[str, Any], pick: int, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((k for k in kind if k != "null"), "null")
        if kind == "object":
            properties = schema.get("properties", {})
            wanted = [name for name in properties if name in schema.get("required", properties)]
            return {name: self.value(properties[name], pick, depth - 1) for name in wanted}
        if kind == "array":
            count = max(1, schema.get("minItems", 1)) if depth > 0 else 0
            return [self.value(schema.get("items", {}), pick + i, depth - 1) for i in range(count)]
        if kind in ("integer", "number"):
            low, high = schema.get("minimum", 0), schema.get("maximum", schema.get("minimum", 0) + 10)
            return low + pick % max(1, int(high - low) + 1)
        if kind == "boolean":
            return pick % 2 == 0
        return None if kind == "null" else self._text(schema)

    def _text(self, schema: Mapping[str, Any]) -> str:
        text = _TEXTS.get(str(schema.get("format")), "text")
        least = schema.get("minLength", 0)
        self._spend(least)
        return text.ljust(least, "x")[: schema.get("maxLength", max(least, len(text)))]

    def _referred(self, reference: str) -> Any:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(part) if part and isinstance(found, dict) else found
        return found

    def _spend(self, amount: int) -> None:
        self._left -= max(0, amount)
        if self._left < 0:
            raise OverflowError
