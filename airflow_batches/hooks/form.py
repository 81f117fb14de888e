"""The connection form of Airflow 3.1, which asks the hook's class for it.

From Airflow 3.2 on, the form comes from the same data in `airflow_batches.provider`, without these functions. Airflow
3.1 has no field for a JSON object, and none for a number with a fraction:

| value of the field        | field of the form                            |
|---------------------------|----------------------------------------------|
| one of several texts      | `StringField` with `any_of`: a choice        |
| a number                  | `IntegerField`                               |
| a text, an object as JSON | `StringField`                                |
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from airflow_batches.provider import get_provider_info


def fields() -> dict[str, Any]:
    """Return the form's further fields.

    :raises ImportError: there is no `wtforms`; Airflow's API server replaces it, and other processes need no form.
    """
    (kind,) = get_provider_info()["connection-types"]
    return {name: _field(values) for name, values in kind["conn-fields"].items()}


def behaviour() -> dict[str, Any]:
    """Return which of the usual fields are hidden or have another name."""
    (kind,) = get_provider_info()["connection-types"]
    given = kind["ui-field-behaviour"]
    return {
        "hidden_fields": given["hidden-fields"],
        "relabeling": given["relabeling"],
        "placeholders": given["placeholders"],
    }


def _field(values: Mapping[str, Any]) -> Any:
    wtforms, checks = import_module("wtforms"), import_module("wtforms.validators")
    schema = values["schema"]
    make = wtforms.IntegerField if "number" in schema["type"] else wtforms.StringField
    choice = [checks.any_of(schema["enum"])] if "enum" in schema else []
    return make(
        label=values["label"],
        validators=[checks.Optional(), *choice],
        description=values["description"],
        default=schema.get("default"),
    )
