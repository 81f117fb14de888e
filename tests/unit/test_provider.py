"""What Airflow is told about the package."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import pytest
from airflow.providers_manager import ProvidersManager

from airflow_batches.provider import get_provider_info


def test_airflow_finds_the_provider_and_its_connection_type() -> None:
    manager = ProvidersManager()
    assert "airflow-batches" in manager.providers
    hook = manager.hooks["anthropicbatches"]
    assert hook is not None
    assert hook.hook_name == "Anthropic Message Batches"
    assert hook.connection_testable


def test_the_link_is_known_to_airflow() -> None:
    assert "airflow_batches.operators.links.MessageBatchLink" in ProvidersManager().extra_links_class_names


def modules(info: dict[str, Any]) -> list[str]:
    groups = [info[key] for key in ("hooks", "operators", "sensors", "triggers")]
    return [name for group in groups for entry in group for name in entry["python-modules"]]


@pytest.mark.parametrize("name", modules(get_provider_info()))
def test_every_module_that_is_named_exists(name: str) -> None:
    assert import_module(name).__name__ == name


def test_both_entry_points_are_installed() -> None:
    (provider,) = [e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("airflow_batches")]
    (script,) = [e for e in entry_points(group="console_scripts") if e.name == "airflow-batches"]
    assert provider.load() is get_provider_info
    assert callable(script.load())


def test_the_form_has_one_field_for_each_extra_that_the_hook_reads() -> None:
    (kind,) = get_provider_info()["connection-types"]
    assert set(kind["conn-fields"]) == {
        "model",
        "auth",
        "anthropic_version",
        "anthropic_beta",
        "workspace_id",
        "timeout",
        "headers",
    }
