"""An instance of a JSON schema: what a model might answer with structured output.

`pick` (any number) chooses a member of an enum, a branch of an anyOf, one of several types (`null` too), and which
members that are not required are there: so the lines of a batch differ, and the same line always gets the same answer.
All that the API accepts of JSON schema is followed, and bounds and patterns as well, also those in descriptions.

A schema whose instances are larger than any answer, or endless, gets an empty object: a schema with `minLength` 10**10
once used all memory of the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from math import ceil, floor, inf
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from airflow_batches.emulator.described import with_described
from airflow_batches.emulator.patterns import matching_text

_DEPTHS: Final = (8, 64)
"""Levels of an instance, the first that is enough; chosen: a schema that refers to itself shows its nesting in the
first, and schemas of types that hold each other, without an end in sight, fit into the second."""
_LARGEST: Final = 100_000
"""Values and characters of an instance; chosen: far above schemas in use, and built at once."""
_SHALLOW: Final = 3
"""First levels with members that are not required; chosen: on all levels, schemas that refer to themselves would grow
large."""
_TEXTS: Final[Mapping[str, str]] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv4interface": "192.0.2.1/24",
    "ipv4network": "192.0.2.0/24",
    "ipv6": "2001:db8::1",
    "ipv6interface": "2001:db8::1/64",
    "ipv6network": "2001:db8::/64",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uuid1": "00000000-0000-1000-8000-000000000000",
    "uuid3": "00000000-0000-3000-8000-000000000000",
    "uuid4": "00000000-0000-4000-8000-000000000000",
    "uuid5": "00000000-0000-5000-8000-000000000000",
}
"""Texts by `format`: those of JSON schema that the API supports (docs), and those that pydantic writes."""
_ANY_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
"""The branches that pydantic writes for a decimal, whose text must be that of a number."""


def example(schema: Any, pick: int) -> Any:
    """Return a value of the schema; an empty object if it is invalid, too large or endless."""
    for depth in _DEPTHS if isinstance(schema, dict) else ():
        try:
            return _Instance(schema, depth).value(schema, pick, depth)
        except _TooDeep:
            continue
        except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError):
            return {}
    return {}


def mismatch(schema: Any, pick: int) -> str | None:
    """Return JSON that does not match the schema: a required member is missing, or the type is another one.

    :return: None where neither can be told from the schema.
    """
    root = schema if isinstance(schema, dict) else {}
    value, kind = example(schema, pick), root.get("type")
    required = [name for name in root.get("required", ()) if isinstance(value, dict) and name in value]
    if kind == "object" and required:
        return msgspec.json.encode({k: v for k, v in value.items() if k != required[pick % len(required)]}).decode()
    if isinstance(kind, str):
        return '"unexpected"' if kind != "string" else '{"unexpected":true}'
    return None


class _TooDeep(Exception):
    """A value has no place on the levels that are left; what holds it may do without, or take another branch."""


class _Instance:
    """Builds one instance; raises OverflowError when it grows larger than `_LARGEST`, and _TooDeep."""

    def __init__(self, root: Mapping[str, Any], depth: int) -> None:
        self._root = root
        self._left = _LARGEST
        self._shallow = depth - _SHALLOW

    def value(self, schema: Any, pick: int, depth: int) -> Any:
        self._spend(1)
        if depth < 0:
            raise _TooDeep
        if not isinstance(schema, dict):
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
            if schema.get(name):
                return self._branch(schema, name, pick, depth)
        return self._typed(with_described(schema), pick, depth)

    def _branch(self, schema: Mapping[str, Any], name: str, pick: int, depth: int) -> Any:
        """Return a value of one branch: the picked one, or the first after it that is not too deep."""
        branches, rest = schema[name], _without(schema, name)
        for number in range(pick, pick + len(branches)):
            branch = self._resolved(branches[number % len(branches)])
            with suppress(_TooDeep):
                value = self.value(_merged([rest, branch]), pick, depth - 1)
                return str(pick % 10) if branch == _ANY_TEXT and _NUMBER in branches else value
        raise _TooDeep

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
        shallow = depth > self._shallow
        wanted = [n for place, n in enumerate(properties) if n in required or (shallow and (pick + place) % 3)]
        made = {}
        for name in wanted:
            with nullcontext() if name in required else suppress(_TooDeep):
                made[name] = self.value(properties[name], pick, depth - 1)
        more = schema.get("additionalProperties")
        for name in required:
            if name not in made and more is not False:
                made[name] = self.value(more if isinstance(more, dict) else {}, pick, depth - 1)
        missing = schema.get("minProperties", 0) - len(made)
        self._spend(missing)
        for number in range(missing if more is not False else 0):
            made[f"key{number}"] = self.value(more if isinstance(more, dict) else {}, pick + number, depth - 1)
        return made

    def _array(self, schema: Mapping[str, Any], pick: int, depth: int) -> list[Any]:
        first = schema.get("prefixItems", ())
        least = schema.get("minItems", len(first))
        count = min(max(least, len(first), 1), schema.get("maxItems", max(least, len(first), 1)))
        if count >= _LARGEST:
            raise OverflowError
        items = [*first, *([schema.get("items", {})] * (count - len(first)))][:count]
        try:
            return [self.value(item, pick + place, depth - 1) for place, item in enumerate(items)]
        except _TooDeep:
            if least > 0:
                raise
            return []

    def _text(self, schema: Mapping[str, Any], pick: int) -> str:
        if "pattern" in schema and (matching := matching_text(str(schema["pattern"]), pick)) is not None:
            return matching
        if schema.get("format") == "decimal number":
            places = schema.get("decimal_places", 0)
            self._spend(places)
            return f"{_number(schema, pick, whole=False):.{places}f}"
        text = _TEXTS.get(str(schema.get("format")), "text")
        least = schema.get("minLength", 0)
        self._spend(least)
        return text.ljust(least, "x")[: schema.get("maxLength", max(least, len(text)))]

    def _resolved(self, schema: Any) -> Any:
        """Return the schema that a schema refers to, or itself; a few steps, because references may form a circle."""
        for _ in range(_DEPTHS[0]):
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
