"""Models: what they are called, what is told of them, what they take."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batches.emulator import Emulator
from airflow_batches.emulator.models import find_model
from tests.unit.emulator.client import Client
from tests.unit.emulator.conftest import Start

YES, NO = {"supported": True}, {"supported": False}


def told(client: Client, emulator: Emulator, name: str) -> Any:
    return client.session.get(f"{emulator.url}/v1/models/{name}", timeout=60).json()


@pytest.mark.parametrize("name", ["claude-haiku-4-5", "claude-haiku-4-5-20251001"])
def test_a_model_is_told_as_recorded_under_its_name_and_its_alias(name: str, start: Start) -> None:
    emulator, client = start()
    model = told(client, emulator, name)
    assert list(model)[:7] == [
        "type",
        "id",
        "display_name",
        "created_at",
        "max_input_tokens",
        "max_tokens",
        "capabilities",
    ]
    assert model["id"] == "claude-haiku-4-5-20251001"
    assert (model["display_name"], model["created_at"]) == ("Claude Haiku 4.5", "2025-10-01T00:00:00Z")
    assert (model["max_input_tokens"], model["max_tokens"]) == (200_000, 64_000)
    recorded = {
        "batch": YES,
        "citations": YES,
        "code_execution": NO,
        "context_management": YES
        | {"clear_tool_uses_20250919": YES, "clear_thinking_20251015": YES, "compact_20260112": NO},
        "effort": NO | {"low": NO, "medium": NO, "high": NO, "xhigh": NO, "max": NO},
        "image_input": YES,
        "pdf_input": YES,
        "structured_outputs": YES,
    }
    assert model["capabilities"] | recorded == model["capabilities"]
    assert model["capabilities"]["thinking"]["types"] == {
        "enabled": YES,
        "adaptive": NO,
        "disabled": YES,
        "between_tools": NO,
    }
    assert emulator.counters["model"] == 1


def test_a_model_in_the_list_is_the_same_as_by_itself(start: Start) -> None:
    emulator, client = start()
    client.url = f"{emulator.url}/v1/models"
    for model in client.list(limit=1000).json()["data"]:
        assert told(client, emulator, model["id"]) == model


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("claude-sonnet-4-6", "2026-02-17"),
        ("claude-opus-4-7", "2026-04-14"),
        ("claude-haiku-5-5", "2026-10-07"),
        ("claude-opus-5", "1970-01-01"),
    ],
)
def test_a_model_without_a_known_date_is_of_the_epoch(name: str, date: str, start: Start) -> None:
    emulator, client = start()
    assert told(client, emulator, name)["created_at"] == f"{date}T00:00:00Z"


def test_a_model_that_will_be_retired_says_so(start: Start) -> None:
    emulator, client = start()
    old, new = (told(client, emulator, f"claude-sonnet-{version}") for version in ("4-5", "5-5"))
    assert (old["lifecycle"], old["retires_at"]) == ("deprecated", "2026-11-30T00:00:00Z")
    assert (new["lifecycle"], new["retires_at"], new["line"]) == ("active", None, "sonnet")


@pytest.mark.parametrize("name", ["claude-none", "claude-opus-4-1", "claude-opus-5-20260723", "gpt-5"])
def test_a_model_that_is_none_is_not_found(name: str, start: Start) -> None:
    emulator, client = start()
    assert told(client, emulator, name)["error"] == {"type": "not_found_error", "message": f"model: {name}"}


def test_a_further_model_of_the_settings_is_told_too(start: Start) -> None:
    emulator, client = start(models=["in-house"])
    model = told(client, emulator, "in-house")
    assert (model["id"], model["display_name"], model["line"]) == ("in-house", "in-house", None)


@pytest.mark.parametrize(
    ("name", "limit", "window"),
    [
        ("claude-sonnet-4-5", 64_000, 200_000),
        ("claude-opus-4-5", 64_000, 200_000),
        ("claude-sonnet-4-6", 128_000, 1_000_000),
        ("claude-haiku-5-5", 128_000, 1_000_000),
        ("claude-opus-5", 128_000, 1_000_000),
    ],
)
def test_limits_are_those_of_the_docs(name: str, limit: int, window: int) -> None:
    model = find_model(name)
    assert model is not None
    assert (model.max_tokens, model.window) == (limit, window)
