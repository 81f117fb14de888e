"""What the API does not take of JSON schema and what has no column: refused before anything is sent.

Pure. `references` looks at a schema as it was given, `shapes` at the closed one (`closed_schema`), and `counts` at the
one that is sent (`sent_schema`).

| limit            | refused                                                      | source                            |
|------------------|--------------------------------------------------------------|-----------------------------------|
| recursion        | a `$ref` to a schema that it stands in                       | docs, "Not supported"             |
| references       | a `$ref` to another document, to nothing; `$dynamicRef`      | docs, "Not supported"             |
| open objects     | `additionalProperties` other than false, `patternProperties` | docs; recorded                    |
| tuples           | `prefixItems`, `items` as a list                             | docs, "Array constraints"         |
| enums            | an `enum` or `const` with objects or lists                   | docs, "Not supported"             |
| typed values     | a schema without `type`, `enum`, `const`, `anyOf` or `$ref`  | the official SDK refuses it       |
| alternatives     | `anyOf` beside keywords that restrict it                     | the official SDK drops them       |
| optional members | more than 24 members that are not in `required`              | docs, "Explicit limits"; recorded |
| unions           | more than 16 schemas with `anyOf` (`X | None` is one)        | docs, "Explicit limits"; recorded |

Docs: https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations (2026-07). The
limit of the compiled grammar's size is not documented as a number; the API answers "Schema is too complex".
Bounds, lengths and patterns are not refused: they go into the description, and the answers are checked against them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow_batches.tables.subschemas import PlacedSchema, Schema, children, resolve, walk

OPTIONAL: Final = 24
"""Most members of all objects that are not required (docs, "Explicit limits")."""
UNIONS: Final = 16
"""Most schemas with alternatives (docs, "Explicit limits")."""
ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples", "$defs", "definitions"})
"""Keywords that may stand beside alternatives, because they restrict nothing."""

_PAIRS: Final = "use a list of objects with a name and a value"


def references(root: Schema) -> list[str]:
    """Return the problems of the references in a schema, as it was given."""
    return list(dict.fromkeys([*_unresolved(root), *_circles(root)]))


def _unresolved(root: Schema) -> Iterator[str]:
    for at, schema in walk(root, conditions=True):
        if not isinstance(schema, Mapping):
            continue
        if "$dynamicRef" in schema:
            yield f"{at}: the API does not take $dynamicRef; use $ref"
        reference = schema.get("$ref")
        if isinstance(reference, str) and resolve(root, reference) is None:
            yield f"{at}: {reference!r} is not in this schema; put the definition into $defs"


def _circles(root: Schema) -> Iterator[str]:
    """Follow each reference; one that leads back to where it stands is a circle."""
    done: set[str] = set()

    def follow(placed: PlacedSchema, trail: tuple[str, ...]) -> Iterator[str]:
        reference = placed.schema.get("$ref") if isinstance(placed.schema, Mapping) else None
        if isinstance(reference, str) and (target := resolve(root, reference)) is not None:
            if reference in trail:
                yield (
                    f"{placed.at}: the API takes no schema that contains itself ({reference}); write its levels "
                    "out, or return a flat list whose items name their parent"
                )
            elif reference not in done:
                yield from follow(PlacedSchema(reference, target), (*trail, reference))
                done.add(reference)
        for inner in children(placed.schema, placed.at):
            yield from follow(inner, trail)

    yield from follow(PlacedSchema("#", root), ("#",))


def shapes(closed: Schema) -> list[str]:
    """Return the problems of each schema in a closed schema."""
    return [problem for each in walk(closed) for problem in _shape(*each)]


def _shape(at: str, schema: Any) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        yield f"{at}: a member of any type has no column; give it a type"
        return
    if schema.get("additionalProperties", False) is not False or "patternProperties" in schema:
        yield f"{at}: the API takes no objects with members of any name; list the members, or {_PAIRS}"
    if "prefixItems" in schema or isinstance(schema.get("items"), list):
        yield f"{at}: the API takes no tuples; use an object with a member for each place"
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if any(isinstance(value, list | Mapping) for value in values):
        yield f"{at}: the API takes only texts, numbers, booleans and null in an enum; use anyOf for objects and lists"
    alternatives = schema.keys() & {"anyOf", "oneOf"}
    if alternatives and (beside := schema.keys() - alternatives - ANNOTATIONS or len(alternatives) > 1):
        named = ", ".join(sorted(beside)) if isinstance(beside, set) else "oneOf"
        yield f"{at}: anyOf beside {named}; write {named} into each alternative"
    if not alternatives and not schema.keys() & {"type", "enum", "const", "$ref"}:
        yield f"{at}: a value of any type has no column; give it a type"


def counts(sent: Schema) -> list[str]:
    """Return the problems with the size of a schema that is to be sent."""
    optional = [f"{at}/properties/{name}" for at, schema in walk(sent) for name in _optional_members(schema)]
    unions = [at for at, schema in walk(sent) if isinstance(schema, Mapping) and "anyOf" in schema]
    problems = []
    if len(optional) > OPTIONAL:
        problems.append(
            f"{_some(optional)}: {len(optional)} members are optional, the API takes {OPTIONAL}; make some required "
            "(without a default)"
        )
    if len(unions) > UNIONS:
        problems.append(
            f"{_some(unions)}: {len(unions)} schemas have alternatives (such as `| None`), the API takes {UNIONS}; "
            'use a plain type with a value for "none", such as an empty text'
        )
    return problems


def _optional_members(schema: Any) -> list[str]:
    members = schema.get("properties", {}) if isinstance(schema, Mapping) else {}
    return [name for name in members if name not in schema.get("required", ())]


def _some(places: list[str]) -> str:
    """Name the first places."""
    return ", ".join(places[:3]) + (" …" if len(places) > 3 else "")
