"""The schema that goes out as `output_config.format.schema`: what the API takes, and the rest in words.

Pure. Nothing is lost: answers are checked against the closed schema, with all its constraints.

| in the closed schema                           | sent                                                             |
|------------------------------------------------|------------------------------------------------------------------|
| type, enum, const, `$ref`, required, default … | as they stand (docs, "Supported features")                       |
| `oneOf`                                        | `anyOf`: the API refuses `oneOf` (recorded)                      |
| `format` of ten kinds                          | as it stands; others: in the description                         |
| `minItems`                                     | 0 or 1 as they stand; more: 1, and the number in the description |
| bounds, lengths, `uniqueItems`, `not`, `if` …  | in the description: "Must be at least 1, at most 5."             |
| `pattern`                                      | in the description: the API may refuse complex ones (docs)       |
| unused definitions                             | left out                                                         |

Sources: docs, "Structured outputs", and `anthropic.transform_schema` of the official SDK moves the same keywords.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_batches.tables.constraints import sentences
from airflow_batches.tables.subschemas import DEFINITIONS, LISTED, NAMED, SINGLE, Schema, walk

FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
"""Formats of texts that the API takes (docs, "Supported features")."""
TAKEN: Final = frozenset(
    {"$ref", "additionalProperties", "const", "default", "description", "enum", "required", "title", "type"}
)
"""Keywords that the API takes with any value (docs, "Supported features")."""


def sendable(closed: Schema) -> dict[str, Any]:
    """Return what is sent for a closed schema."""
    return _without_unused(_sent(closed))


def _sent(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    sent: dict[str, Any] = {}
    moved: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in NAMED:
            sent[keyword] = {name: _sent(each) for name, each in value.items()}
        elif keyword in LISTED:
            sent["anyOf"] = [_sent(each) for each in value]
        elif keyword in SINGLE:
            sent[keyword] = _sent(value)
        elif keyword in TAKEN or (keyword == "format" and value in FORMATS):
            sent[keyword] = value
        else:
            sent |= {"minItems": min(value, 1)} if keyword == "minItems" else {}
            moved |= {keyword: value} if keyword != "minItems" or value > 1 else {}
    return sent | _described(sent.get("description"), moved)


def _described(description: Any, moved: Mapping[str, Any]) -> dict[str, str]:
    if not moved:
        return {}
    words = sentences(moved)
    return {"description": f"{description}\n{words}" if description else words}


def _without_unused(sent: dict[str, Any]) -> dict[str, Any]:
    """Leave out definitions without a reference: they cost tokens, and count towards the limits."""
    while True:
        used = {schema["$ref"] for _, schema in walk(sent) if isinstance(schema, Mapping) and "$ref" in schema}
        kept = {
            prefix[2:-1]: {name: each for name, each in sent[prefix[2:-1]].items() if _pointer(prefix, name) in used}
            for prefix in DEFINITIONS
            if prefix[2:-1] in sent
        }
        if all(len(sent[key]) == len(definitions) for key, definitions in kept.items()):
            return {key: value for key, value in sent.items() if key not in kept or value}
        sent = sent | kept


def _pointer(prefix: str, name: str) -> str:
    return prefix + name.replace("~", "~0").replace("/", "~1")
