"""The connection form as Airflow's API server describes it to the browser, in each version."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from airflow_batches.provider import get_provider_info

PROGRAM = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
print(json.dumps([each.model_dump(mode="json") for each in HookMetaService.hook_meta_data()
                  if each.connection_type == "anthropicbatches"]))
"""


@pytest.fixture(scope="module")
def form() -> dict[str, dict[str, dict[str, object]]]:
    """The form. Another process, because Airflow's service replaces modules."""
    done = subprocess.run(  # our own interpreter, our own program
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, check=True, text=True, timeout=240
    )
    (found,) = json.loads(done.stdout.splitlines()[-1])
    return found  # type: ignore[no-any-return]  # from JSON


def test_it_has_a_field_for_each_extra(form: dict[str, dict[str, dict[str, object]]]) -> None:
    (kind,) = get_provider_info()["connection-types"]
    fields = kind["conn-fields"]
    assert set(form["extra_fields"]) == set(fields)
    for name, shown in form["extra_fields"].items():
        assert shown["schema"]["title"] == fields[name]["label"]  # type: ignore[index]  # from JSON
        assert shown["description"] == fields[name]["description"]
        assert shown["value"] == fields[name]["schema"].get("default")
        assert shown["schema"].get("enum") == fields[name]["schema"].get("enum")  # type: ignore[attr-defined]  # likewise
        assert "null" in shown["schema"]["type"]  # type: ignore[index]  # it may stay empty


def test_it_names_the_key_and_the_url_and_hides_what_is_not_read(form: dict[str, dict[str, dict[str, object]]]) -> None:
    usual = form["standard_fields"]
    assert usual["password"]["title"] == "API key"
    assert usual["host"]["title"] == "Base URL"
    assert usual["host"]["placeholder"] == "https://api.anthropic.com"
    assert {name for name, field in usual.items() if field and field["hidden"]} == {"login", "url_schema"}
