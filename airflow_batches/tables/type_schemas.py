"""The JSON schemas of a Python type, made by pydantic: what answers must match, and what their values look like.

Rules:
- The schema of answers names members by their validation aliases, the schema of values by their serialization aliases.
  `Field(alias=…)` sets both, so that answers and columns have the same names.
- A computed field has a column, a field with `exclude=True` has none.
- A `Decimal` is asked for as a text, because a JSON number may lose digits on its way; answers with a number are valid.
- pydantic's titles of members, which repeat their names, are left out: each request would pay for them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, TypedDict

from pydantic import TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from airflow_batches.tables.errors import OutputTypeError
from airflow_batches.tables.typed_dicts import for_pydantic


class TypeSchemas(TypedDict):
    """The two schemas of a type."""

    answer: dict[str, Any]
    value: dict[str, Any]


class _SchemaGenerator(GenerateJsonSchema):
    """pydantic's generator, with decimals as texts and without titles of members."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  # pydantic declares it so

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        made: JsonSchemaValue = {"type": "string", "format": "decimal number"}
        self.update_with_validations(made, schema, self.ValidationsMapping.numeric)
        made |= {key: schema[key] for key in ("max_digits", "decimal_places") if schema.get(key) is not None}
        return {key: float(value) if isinstance(value, Decimal) else value for key, value in made.items()}


def adapter_of(given: Any, name: str) -> TypeAdapter[Any]:
    """Return pydantic's validator of a type.

    :raises OutputTypeError: pydantic cannot validate values of this type.
    """
    try:
        return TypeAdapter(for_pydantic(given))
    except (PydanticUserError, PydanticUndefinedAnnotation) as exc:
        raise OutputTypeError(name, [_first_line(exc)]) from exc


def schemas_of(adapter: TypeAdapter[Any], name: str) -> TypeSchemas:
    """Return the JSON schemas of a type.

    :raises OutputTypeError: a member's type has no JSON schema.
    """
    try:
        return {"answer": _schema(adapter, "validation"), "value": _schema(adapter, "serialization")}
    except (PydanticUserError, PydanticUndefinedAnnotation) as exc:
        raise OutputTypeError(name, [_first_line(exc)]) from exc


def _schema(adapter: TypeAdapter[Any], mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    return adapter.json_schema(schema_generator=_SchemaGenerator, mode=mode)


def _first_line(error: PydanticUserError | PydanticUndefinedAnnotation) -> str:
    return error.message.splitlines()[0]
