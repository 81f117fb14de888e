"""An instance of a JSON schema: what a model that keeps to the schema might answer.

`pick` (any number) decides between the members of an enum or the branches of an anyOf, so that the lines of a batch
differ, and the same line is answered the same way every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DEPTH: Final = 8  # of a schema that refers to itself
_TEXTS: Final[Mapping[str, str]] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Any, pick: int) -> Any:
    """A value of the schema; a schema that is none gives an empty object."""
    try:
        return _value(schema, schema, pick, _DEPTH) if isinstance(schema, dict) else {}
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError):
        return {}


def _value(schema: Any, root: Mapping[str, Any], pick: int, depth: int) -> Any:
    if not isinstance(schema, dict) or depth < 0:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][pick % len(schema["enum"])]
    if "$ref" in schema:
        return _value(_referred(str(schema["$ref"]), root), root, pick, depth - 1)
    for branches in (schema.get("anyOf"), schema.get("oneOf")):
        if branches:
            return _value(branches[pick % len(branches)], root, pick, depth - 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged |= part if isinstance(part, dict) else {}
        return _value(merged, root, pick, depth - 1)
    return _typed(schema, root, pick, depth)


def _typed(schema: Mapping[str, Any], root: Mapping[str, Any], pick: int, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind == "object":
        properties = schema.get("properties", {})
        wanted = [name for name in properties if name in schema.get("required", properties)]
        return {name: _value(properties[name], root, pick, depth - 1) for name in wanted}
    if kind == "array":
        count = max(1, schema.get("minItems", 1)) if depth > 0 else 0
        return [_value(schema.get("items", {}), root, pick + i, depth - 1) for i in range(count)]
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", 0), schema.get("maximum", schema.get("minimum", 0) + 10)
        return low + pick % max(1, int(high - low) + 1)
    if kind == "boolean":
        return pick % 2 == 0
    return None if kind == "null" else _text(schema)


def _text(schema: Mapping[str, Any]) -> str:
    text = _TEXTS.get(str(schema.get("format")), "text")
    text = text.ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if part and isinstance(found, dict) else found
    return found
