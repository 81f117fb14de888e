"""A validator of pydantic for a JSON schema, for speed: what it accepts, jsonschema accepts too.

It may refuse what jsonschema accepts (`1.0` for an integer), so a refusal decides nothing. A schema with a keyword that
is not here, or whose meaning differs between the two (`uniqueItems`, `oneOf`), has no such validator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import CoreSchema, PydanticCustomError, SchemaError, SchemaValidator, core_schema

from airflow_batches.tables.schema_limits import ANNOTATIONS
from airflow_batches.tables.subschemas import Schema, resolve

Formats = Callable[[object, str], bool]
"""Whether a text is in a format."""

BOUNDS: Final = {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"}
EXACT: Final = 2**53
"""Below this, a double holds every integer (IEEE 754), and bounds compare as in jsonschema. Documented by Python."""


class _NoQuickCheck(Exception):
    """A schema has no quick validator."""


def quick_validator(closed: Schema, formats: Formats) -> SchemaValidator | None:
    """Return a validator that accepts only what the schema accepts, or None.

    :param closed: the closed schema.
    :param formats: says whether a text is in a format.
    """
    try:
        return SchemaValidator(_Translation(closed, formats).core(closed))
    except (_NoQuickCheck, SchemaError):
        return None


class _Translation:
    def __init__(self, root: Schema, formats: Formats) -> None:
        self._root = root
        self._formats = formats

    def core(self, schema: Any) -> CoreSchema:
        if not isinstance(schema, Mapping):
            raise _NoQuickCheck
        if "$ref" in schema:
            return self.core(resolve(self._root, schema["$ref"]))
        demands = {key: value for key, value in schema.items() if key not in ANNOTATIONS}
        if "anyOf" in demands:
            choices: list[Any] = [self.core(each) for each in demands.pop("anyOf")]
            return _complete(demands, core_schema.union_schema(choices, mode="left_to_right"))
        if demands.keys() & {"enum", "const"}:
            return _literal(demands)
        make = self._makers().get(demands.pop("type", None))
        if make is None:
            raise _NoQuickCheck
        return _complete(demands, make(demands))

    def _makers(self) -> Mapping[str, Callable[[dict[str, Any]], CoreSchema]]:
        """Return what makes a validator for each type; each takes the keywords that it knows."""
        return {
            "object": self._object,
            "array": self._array,
            "string": self._text,
            "integer": lambda demands: core_schema.int_schema(strict=True, **_bounds(demands)),
            "number": lambda demands: core_schema.float_schema(strict=True, allow_inf_nan=False, **_bounds(demands)),
            "boolean": lambda _: core_schema.bool_schema(strict=True),
            "null": lambda _: core_schema.none_schema(),
        }

    def _object(self, demands: dict[str, Any]) -> CoreSchema:
        members, required = demands.pop("properties", {}), demands.pop("required", [])
        if demands.pop("additionalProperties", None) is not False or not set(required) <= members.keys():
            raise _NoQuickCheck
        fields = {
            name: core_schema.typed_dict_field(self.core(each), required=name in required)
            for name, each in members.items()
        }
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid", strict=True)

    def _array(self, demands: dict[str, Any]) -> CoreSchema:
        least, most = demands.pop("minItems", None), demands.pop("maxItems", None)
        return core_schema.list_schema(
            self.core(demands.pop("items", None)), min_length=least, max_length=most, strict=True
        )

    def _text(self, demands: dict[str, Any]) -> CoreSchema:
        least, most = demands.pop("minLength", None), demands.pop("maxLength", None)
        text = core_schema.str_schema(min_length=least, max_length=most, strict=True)
        return self._in_format(demands.pop("format"), text) if "format" in demands else text

    def _in_format(self, name: str, text: CoreSchema) -> CoreSchema:
        def check(value: str) -> str:
            if not self._formats(value, name):
                raise PydanticCustomError("format", "not in its format")
            return value

        return core_schema.no_info_after_validator_function(check, text)


def _literal(demands: Mapping[str, Any]) -> CoreSchema:
    """Return a validator of an enum of texts. Others compare differently: 1, 1.0 and true."""
    values = demands.get("enum", [demands.get("const")])
    if len(demands.keys() - {"type"}) != 1 or demands.get("type", "string") != "string":
        raise _NoQuickCheck
    if not all(isinstance(value, str) for value in values):
        raise _NoQuickCheck
    return core_schema.literal_schema(values)


def _complete(demands: Mapping[str, Any], made: CoreSchema) -> CoreSchema:
    """Return what was made, if no keyword is left."""
    if demands:
        raise _NoQuickCheck
    return made


def _bounds(demands: dict[str, Any]) -> dict[str, Any]:
    bounds = {name: demands.pop(keyword) for keyword, name in BOUNDS.items() if keyword in demands}
    if any(abs(bound) >= EXACT for bound in bounds.values()):
        raise _NoQuickCheck
    return bounds
