"""How the API's objects are read (pydantic).

Rules: unknown fields, statuses and result types are kept, because the API adds them without a new version. Fields that
may be absent are optional. Text is stored as received; its meaning is a property.

| object      | required                 | another field that cannot be read                                    |
|-------------|--------------------------|----------------------------------------------------------------------|
| result line | `custom_id`, `type`      | gets its default                                                     |
| batch       | `id`, `processing_status`| gets its default; counts that cannot be read are unknown, not 0      |
| page        | `data`, a readable `has_more` | a batch that cannot be read is left out, and counted            |

Values that could not be read are kept in `model_extra["unread"]`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator


class Wire(BaseModel):
    """A model that keeps unknown fields and cannot be changed."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, serialize_by_alias=True)


class Lenient(Wire):
    """A model that tolerates invalid fields: a field that cannot be read gets its default, the others are read.

    The invalid value is in `model_extra["unread"]` under the field's name, unless it was `null`.
    """

    NULL_IS_UNREAD: ClassVar[bool] = False
    """Whether an invalid `null` is kept in `unread` too."""

    @model_validator(mode="wrap")
    @classmethod
    def _as_far_as_it_goes(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        value = cls._unwrapped(value)
        try:
            return handler(value)
        except ValidationError as exc:
            odd = {str(error["loc"][0]) for error in exc.errors() if error["loc"]}
            if not odd or odd & _required_keys(cls):
                raise
        unread = {name: value[name] for name in odd if cls.NULL_IS_UNREAD or value[name] is not None}
        fitting = {name: field for name, field in value.items() if name not in odd}
        return handler({**fitting, "unread": unread} if unread else fitting)

    @classmethod
    def _unwrapped(cls, value: Any) -> Any:
        """Return the object that holds the fields; subclasses override this where it is not the value itself."""
        return value


def _required_keys(model: type[BaseModel]) -> set[str]:
    """Return the required keys, by field name and by JSON name."""
    required = {name: field for name, field in model.model_fields.items() if field.is_required()}
    return set(required) | {field.alias for field in required.values() if field.alias}
