"""The answer to `GET /_emulator/`: every route, fault, rule and setting, made from the code that has them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

import msgspec

from airflow_batches.emulator.actions import ACTIONS
from airflow_batches.emulator.faults import Fault
from airflow_batches.emulator.rule_files import ANSWER_FIELDS
from airflow_batches.emulator.rules import Rule
from airflow_batches.emulator.settings import ENDPOINTS, Settings

_PARAM: Final = re.compile(r":param (\w+): (.*?)(?=\n:|\Z)", re.DOTALL)


def route_manual(root: str, routes: Mapping[tuple[str, str], Callable[..., Any]]) -> list[dict[str, Any]]:
    """Describe each route: what it does, and the fields that it takes in its query (GET) or body."""
    return [
        {
            "method": method,
            "path": f"{root}/{path}",
            "text": _first_line(handler),
            "fields": {name: text for name, text in _params(handler).items() if name != "emulator"},
        }
        for (method, path), handler in routes.items()
    ]


def fault_manual() -> dict[str, Any]:
    """Describe faults: the endpoints and actions there are, and a fault's fields."""
    texts = _params(Fault)
    described = _described(Fault)
    found = {name: about | {"text": texts.get(name, "")} for name, about in described.items()}
    return {"endpoints": [*ENDPOINTS, "*"], "actions": ACTIONS, "fields": found}


def rule_manual() -> dict[str, Any]:
    """Describe a rule's fields; `answers` are those that a rule among the answers has."""
    texts = _params(Rule)
    fields_ = {
        name: about | {"text": texts.get(name, "")} for name, about in _described(Rule).items() if name != "where"
    }
    return {"fields": fields_, "answers": [name for name in ANSWER_FIELDS if name != "where"]}


def setting_manual() -> dict[str, Any]:
    """Describe every setting: type, default and meaning."""
    texts = {field.name: field.metadata["help"] for field in fields(Settings)}
    return {name: about | {"text": texts[name]} for name, about in _described(Settings).items()}


def _described(kind: type) -> dict[str, dict[str, Any]]:
    """Return type and default of each field; a field without a default is required."""
    _, schemas = msgspec.json.schema_components([kind], schema_hook=lambda _: {}, ref_template="{name}")
    properties = schemas[kind.__name__]["properties"]
    return {
        name: {"type": _type_text(about)} | ({"default": about["default"]} if "default" in about else {})
        for name, about in properties.items()
    }


def _type_text(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type_text(each) for each in schema["anyOf"])
    return str(schema.get("type", "any"))


def _params(described: Callable[..., Any]) -> dict[str, str]:
    text = inspect.getdoc(described) or ""
    return {name: " ".join(meaning.split()) for name, meaning in _PARAM.findall(text)}


def _first_line(described: Callable[..., Any]) -> str:
    return (inspect.getdoc(described) or "").partition("\n")[0]
