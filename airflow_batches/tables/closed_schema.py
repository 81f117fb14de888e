"""A schema in the one form that the other files of output types read: closed, without `allOf` and lists of types.

Pure. It accepts the same answers as the given schema, except that objects take no further members.

| given                                  | closed                                                                  |
|----------------------------------------|-------------------------------------------------------------------------|
| `$ref` alone, to a definition          | as it stands                                                            |
| `$ref` beside keywords, or elsewhere   | the schema that it refers to, with the keywords (the API takes no others) |
| `allOf`                                | one schema with all keywords; its parts may not contradict each other   |
| `type: [a, b]`                         | `anyOf`, each with the keywords of its type                              |
| an object                              | `additionalProperties: false`, as the API demands                       |
| `$schema`, `$id`, `$comment` and such  | left out                                                                |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from airflow_batches.tables.errors import OutputTypeError
from airflow_batches.tables.schema_limits import ANNOTATIONS
from airflow_batches.tables.subschemas import DEFINITIONS, LISTED, NAMED, Schema, resolve

LEFT_OUT: Final = frozenset(
    {
        "$schema",
        "$id",
        "$anchor",
        "$comment",
        "deprecated",
        "discriminator",
        "readOnly",
        "unevaluatedProperties",
        "writeOnly",
    }
)
"""Keywords that restrict nothing and mean nothing to the API."""
OF_TYPE: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"format", "minLength", "maxLength", "pattern"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"}),
    "object": frozenset({"properties", "required", "additionalProperties", "patternProperties"}),
}
"""Keywords that concern values of one type only (JSON Schema 2020-12, "Validation")."""
JSON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def closed(schema: Schema, name: str) -> dict[str, Any]:
    """Return the schema in closed form.

    :param schema: a schema whose references were checked (`schema_limits.references`).
    :param name: the type, for errors.
    :raises OutputTypeError: the parts of an `allOf` contradict each other.
    """
    made: dict[str, Any] = _Closing(schema, name).close(schema, "#")
    return made


class _Closing:
    def __init__(self, root: Schema, name: str) -> None:
        self._root = root
        self._name = name

    def close(self, schema: Any, at: str) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        plain = self._plain({key: value for key, value in schema.items() if key not in LEFT_OUT}, at)
        made = {key: self._inner(key, value, at) for key, value in plain.items()}
        return made | {"additionalProperties": False} if made.get("type") == "object" and _is_closed(made) else made

    def _plain(self, schema: dict[str, Any], at: str) -> dict[str, Any]:
        """Replace what is not closed at the top of a schema, one step after the other."""
        if "$ref" in schema and (len(schema) > 1 or not schema["$ref"].startswith(DEFINITIONS)):
            reference = schema.pop("$ref")
            return self._plain(self._merged([schema, resolve(self._root, reference) or {}], at), at)
        if "allOf" in schema:
            parts = schema.pop("allOf")
            return self._plain(self._merged([schema, *(self._plain(dict(part), at) for part in parts)], at), at)
        if isinstance(schema.get("type"), list):
            return _alternatives(schema)
        return schema

    def _inner(self, keyword: str, value: Any, at: str) -> Any:
        if keyword in NAMED:
            return {name: self.close(each, f"{at}/{keyword}/{name}") for name, each in value.items()}
        if keyword in LISTED:
            return [self.close(each, f"{at}/{keyword}/{number}") for number, each in enumerate(value)]
        return self.close(value, f"{at}/items") if keyword == "items" and not isinstance(value, list) else value

    def _merged(self, parts: Iterable[Schema], at: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for part in parts:
            for key, value in part.items():
                if key in LEFT_OUT or (key in ANNOTATIONS and key not in NAMED and key in merged):
                    continue  # the outer annotation counts
                merged[key] = self._both(key, merged[key], value, at) if key in merged else value
        return merged

    def _both(self, key: str, one: Any, other: Any, at: str) -> Any:
        if one == other:
            return one
        if key == "required":
            return list(dict.fromkeys([*one, *other]))
        if key == "allOf":
            return [*one, *other]
        if key == "properties":
            shared = one.keys() & other.keys()
            both = {name: {"allOf": [one[name], other[name]]} for name in shared if one[name] != other[name]}
            return {**one, **other, **both}
        if key in NAMED:
            return {**other, **one}
        raise OutputTypeError(
            self._name, [f"{at}: the parts of allOf have different values of {key}; write one schema"]
        )


def _is_closed(schema: Schema) -> bool:
    return schema.get("additionalProperties") is None and "patternProperties" not in schema


def _alternatives(schema: Schema) -> dict[str, Any]:
    """Return a schema with several types as an `anyOf`, with each keyword where its type is."""
    outer = {key: value for key, value in schema.items() if key in ANNOTATIONS}
    branches = [branch for kind in schema["type"] if (branch := _branch(schema, kind)) is not None]
    return outer | (branches[0] if len(branches) == 1 else {"anyOf": branches})


def _branch(schema: Schema, kind: str) -> dict[str, Any] | None:
    """Return the schema for one of the types, or None if its enum has no value of that type."""
    elsewhere = frozenset().union(*OF_TYPE.values()) - OF_TYPE.get(kind, frozenset()) | ANNOTATIONS
    branch = {key: value for key, value in schema.items() if key not in elsewhere} | {"type": kind}
    if "enum" not in schema and "const" not in schema:
        return branch
    values = schema.get("enum", [schema.get("const")])
    held = [value for value in values if _is_of(value, kind)]
    if not held:
        return None
    return {key: value for key, value in branch.items() if key != "const"} | {"enum": held}


def _is_of(value: Any, kind: str) -> bool:
    return isinstance(value, JSON_TYPES.get(kind, ())) and (kind == "boolean" or not isinstance(value, bool))
