"""What the API refuses in the JSON schema of structured output and of strict tools.

    type              refused                                                                     source
    ----------------  --------------------------------------------------------------------------  ----------------------
    object            `additionalProperties` other than false                                     recorded live
    integer, number   `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf`  req_llm issue 302
    string            `minLength`, `maxLength`                                                    docs
    array             `maxItems`, `uniqueItems`                                                   req_llm pull 707
    array             `minItems` other than 0 and 1                                               reported; docs

The docs ("Structured outputs", section "JSON Schema limitations") name all of them, and recursive schemas,
whose message is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow_batches.emulator.refusal import Refused

_BOUNDS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_UNSUPPORTED: Final[Mapping[str, frozenset[str]]] = {
    "integer": _BOUNDS,
    "number": _BOUNDS,
    "string": frozenset({"minLength", "maxLength"}),
    "array": frozenset({"maxItems", "uniqueItems"}),
}
"""Type -> the members of a schema that are refused."""


def check_output_schemas(params: Mapping[str, Any]) -> None:
    """Check the schema of the output format and of strict tools. Raises Refused."""
    if form := (params.get("output_config") or {}).get("format"):
        check_schema(form["schema"], "output_config.format.schema")
    for number, tool in enumerate(params.get("tools") or ()):
        if tool.get("strict") is True:
            check_schema(tool.get("input_schema"), f"tools.{number}.custom")


def check_schema(schema: Any, place: str) -> None:
    """Check a schema and all schemas in it. Raises Refused."""
    for found in _schemas(schema):
        kinds = found.get("type")
        for kind in kinds if isinstance(kinds, list) else (kinds,):
            if objection := _objection(found, str(kind)):
                raise Refused(f"{place}: For '{kind}' type, {objection}")


def _objection(schema: Mapping[str, Any], kind: str) -> str | None:
    if kind == "object" and schema.get("additionalProperties") is not False:
        return "'additionalProperties' must be explicitly set to false"
    if kind == "array" and schema.get("minItems", 0) not in (0, 1):
        return "'minItems' values other than 0 or 1 are not supported"
    unsupported = sorted(_UNSUPPORTED.get(kind, frozenset()) & schema.keys())
    if len(unsupported) == 1:
        return f"property '{unsupported[0]}' is not supported"
    return f"properties {', '.join(unsupported)} are not supported" if unsupported else None


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas in it, without recursion, because schemas may nest deeply."""
    stack = [schema]
    while stack:
        found = stack.pop()
        if not isinstance(found, dict):
            continue
        yield found
        for name in ("anyOf", "allOf", "oneOf", "properties", "$defs", "definitions", "prefixItems"):
            stack += _listed(found.get(name))
        stack.append(found.get("items"))


def _listed(schemas: Any) -> list[Any]:
    if isinstance(schemas, dict):
        return list(schemas.values())
    return schemas if isinstance(schemas, list) else []
