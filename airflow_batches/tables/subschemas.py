"""The schemas in a JSON schema, and what a reference in it refers to. Pure.

A place is a JSON pointer from the root, as in `#/properties/lines/items`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

Schema = Mapping[str, Any]

NAMED: Final = ("properties", "$defs", "definitions")
LISTED: Final = ("anyOf", "oneOf", "allOf")
SINGLE: Final = ("items",)
"""Keywords under which the schemas of a value's parts and alternatives stand."""
CONDITIONS: Final = ("not", "if", "then", "else", "contains", "propertyNames", "dependentSchemas")
"""Keywords with schemas that only restrict a value: they are checked, and are sent as text."""
DEFINITIONS: Final = ("#/$defs/", "#/definitions/")
"""Where the API looks for what a `$ref` refers to (docs, "Structured outputs")."""


class PlacedSchema(NamedTuple):
    """A schema and its place."""

    at: str
    schema: Any


def walk(schema: Any, at: str = "#", *, conditions: bool = False) -> Iterator[PlacedSchema]:
    """Yield a schema and all schemas in it, without following references.

    :param conditions: also those in keywords that only restrict a value.
    """
    yield PlacedSchema(at, schema)
    for inner in children(schema, at, conditions=conditions):
        yield from walk(inner.schema, inner.at, conditions=conditions)


def children(schema: Any, at: str, *, conditions: bool = False) -> Iterator[PlacedSchema]:
    """Yield the schemas that stand directly in a schema."""
    for keyword in (*NAMED, *LISTED, *SINGLE, *(CONDITIONS if conditions else ())):
        inner = schema.get(keyword) if isinstance(schema, Mapping) else None
        if isinstance(inner, list):
            yield from (PlacedSchema(f"{at}/{keyword}/{number}", each) for number, each in enumerate(inner))
        elif isinstance(inner, Mapping) and keyword in (*NAMED, "dependentSchemas"):
            yield from (PlacedSchema(f"{at}/{keyword}/{_escaped(name)}", each) for name, each in inner.items())
        elif inner is not None:
            yield PlacedSchema(f"{at}/{keyword}", inner)


def resolve(root: Schema, reference: str) -> Schema | None:
    """Return the schema that a reference within the document refers to, or None."""
    if not reference.startswith("#"):
        return None
    found: Any = root
    for part in filter(None, unquote(reference[1:]).split("/")):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
