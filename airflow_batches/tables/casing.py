"""Texts of enums whose capitals differ from the schema's.

The API does not promise the capitals of `enum` and `const` (docs, "Invalid outputs": "Conversation Topic 3" for
"Conversation topic 3"), and an answer that differs only there would be paid for once more. So the value of the schema
takes its place, if exactly one differs only in capitals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_batches.tables.subschemas import Schema, resolve


def with_cases_of(root: Schema, value: Any) -> Any:
    """Return a value with the texts of its enums as the schema has them.

    :param root: the closed schema.
    :param value: an answer's JSON.
    """
    return _recased(root, root, value)


def _recased(root: Schema, schema: Any, value: Any) -> Any:
    if not isinstance(schema, Mapping):
        return value
    if "$ref" in schema:
        return _recased(root, resolve(root, schema["$ref"]), value)
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        value = _recased(root, each, value)
    if isinstance(value, str):
        return _chosen(schema, value)
    if isinstance(value, list):
        return [_recased(root, schema.get("items"), each) for each in value]
    if isinstance(value, dict):
        members = schema.get("properties", {})
        return {name: _recased(root, members.get(name), each) for name, each in value.items()}
    return value


def _chosen(schema: Schema, value: str) -> str:
    names = schema.get("enum", [schema.get("const")])
    same = [name for name in names if isinstance(name, str) and name.casefold() == value.casefold()]
    return same[0] if len(same) == 1 else value
