"""An instance of a JSON schema: what a model might answer with structured output.

`pick` (any number) chooses a member of an enum, a branch of an anyOf, one of several types (`null` too), and which
members that are not required are there: so the lines of a batch differ, and the same line always gets the same answer.
All that the API accepts of JSON schema is followed, and bounds and patterns as well.

A schema with instances larger than any answer gets an empty object: a schema with `minLength` 10**10 once used all
memory of the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, floor, inf
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from airflow_batches.emulator.patterns import matching_text

_DEPTH: Final = 8
"""Levels of a schema that refers to itself; chosen: deep enough to show the nesting."""
_LARGEST: Final = 100_000
"""Values and characters of an instance; chosen: far above schemas in use, and built at once."""
_SHALLOW: Final = 3
"""Levels with members that are not required; chosen: on all levels, a schema that refers to itself would grow large."""
_TEXTS: Final[Mapping[str, str]] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
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
            return self.value(_merged([self._referred(str(schema["$ref"])), _without(schema, "$ref")]), pick, depth - 1)
        if schema.get("allOf"):
            parts = [self._resolved(part) for part in schema["allOf"]]
            return self.value(_merged([_without(schema, "allOf"), *parts]), pick, depth - 1)
        for name in ("anyOf", "oneOf"):
            if branches := schema.get(name):
                branch = self._resolved(branches[pick % len(branches)])
                return self.value(_merged([_without(schema, name), branch]), pick, depth - 1)
        return self._typed(schema, pick, depth)

    def _typed(self, schema: Mapping[str, Any], pick: int, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = kind[pick % len(kind)]
        if kind == "object":
            return self._object(schema, pick, depth)
        if kind == "array":
            return self._array(schema, pick, depth)
        if kind in ("integer", "number"):
            return _number(schema, pick, whole=kind == "integer")
        if kind == "boolean":
            return pick % 2 == 0
        return None if kind == "null" else self._text(schema, pick)

    def _object(self, schema: Mapping[str, Any], pick: int, depth: int) -> dict[str, Any]:
        """Return the required members, and two in three of the others; all members if there is no `required`."""
        properties = schema.get("properties", {})
        required = schema.get("required", properties)
        shallow = depth > _DEPTH - _SHALLOW
        wanted = [n for place, n in enumerate(properties) if n in required or (shallow and (pick + place) % 3)]
        made = {name: self.value(properties[name], pick, depth - 1) for name in wanted}
        more = schema.get("additionalProperties")
        for name in required:
            if name not in made and more is not False:
                made[name] = self.value(more if isinstance(more, dict) else {}, pick, depth - 1)
        return made

    def _array(self, schema: Mapping[str, Any], pick: int, depth: int) -> list[Any]:
        first = schema.get("prefixItems", ())
        least = schema.get("minItems", len(first) or 1)
        count = min(max(least, len(first), 1 if depth > 0 else 0), schema.get("maxItems", max(least, len(first), 1)))
        items = [*first, *([schema.get("items", {})] * max(0, count - len(first)))] if count < _LARGEST else None
        if items is None:
            raise OverflowError
        return [self.value(item, pick + place, depth - 1) for place, item in enumerate(items[:count])]

    def _text(self, schema: Mapping[str, Any], pick: int) -> str:
        if "pattern" in schema and (matching := matching_text(str(schema["pattern"]), pick)) is not None:
            return matching
        text = _TEXTS.get(str(schema.get("format")), "text")
        least = schema.get("minLength", 0)
        self._spend(least)
        return text.ljust(least, "x")[: schema.get("maxLength", max(least, len(text)))]

    def _resolved(self, schema: Any) -> Any:
        """Return the schema that a schema refers to, or itself; a few steps, because references may form a circle."""
        for _ in range(_DEPTH):
            if not isinstance(schema, dict) or "$ref" not in schema:
                break
            schema = _merged([self._referred(str(schema["$ref"])), _without(schema, "$ref")])
        return schema

    def _referred(self, reference: str) -> Any:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            found = found.get(name) if part and isinstance(found, dict) else found
        return found

    def _spend(self, amount: int) -> None:
        self._left -= max(0, amount)
        if self._left < 0:
            raise OverflowError


def _number(schema: Mapping[str, Any], pick: int, *, whole: bool) -> Any:
    """Return a number within the bounds: a multiple of `multipleOf`, or of 1 if a whole number fits."""
    step = schema.get("multipleOf", 1)
    above, below = schema.get("exclusiveMinimum", -inf), schema.get("exclusiveMaximum", inf)
    low, high = max(schema.get("minimum", -inf), above), min(schema.get("maximum", inf), below)
    if low == -inf:
        low = 0 if high > 0 else high - 10 * step
    first = ceil(low / step) * step
    first += step if first <= above else 0
    last = first + 10 * step if high == inf else floor(high / step) * step
    last -= step if last >= below else 0
    if first > last and not whole:
        return float(low + high) / 2
    return first + pick % (min(10, max(0, (last - first) // step)) + 1) * step


def _merged(parts: Iterable[Any]) -> dict[str, Any]:
    """Return one schema for all: members of objects add up, of the others the last one counts."""
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items() if isinstance(part, dict) else ():
            before = merged.get(name)
            if name == "properties" and isinstance(before, dict) and isinstance(value, dict):
                value = before | value
            elif name == "required" and isinstance(before, list) and isinstance(value, list):
                value = [*before, *value]
            merged[name] = value
    return merged


def _without(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {member: value for member, value in schema.items() if member != name}
