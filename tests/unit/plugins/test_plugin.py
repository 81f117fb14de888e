"""What Airflow is told about the page, the files that it serves, and the link from a task."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from airflow_batches import operators, sensors
from airflow_batches.decorators import message_batch, message_batch_job
from airflow_batches.operators.links import MessageBatchesPageLink
from airflow_batches.plugins.address import page_in_airflow
from airflow_batches.plugins.page import STATIC, page
from airflow_batches.plugins.plugin import OPERATORS, MessageBatchesPlugin, views

UI = Path(__file__).parents[3] / "ui/src"


@pytest.fixture
def files() -> TestClient:
    return TestClient(page)


def test_airflow_finds_the_plugin_by_its_entry_point() -> None:
    (found,) = [each for each in entry_points(group="airflow.plugins") if each.name == "airflow_batches"]
    assert found.load() is MessageBatchesPlugin
    assert MessageBatchesPlugin.name == "airflow_batches"


def test_the_page_is_in_the_menu_browse() -> None:
    (menu,) = views(tabs=False)
    assert (menu["destination"], menu["category"], menu["href"]) == ("nav", "browse", "/message-batches/")


def test_only_an_airflow_that_can_limit_it_to_our_operators_gets_the_tab() -> None:
    _, tab = views(tabs=True)
    assert tab["destination"] == "task_instance"
    assert tab["applies_to"] == {"operator": list(OPERATORS)}
    assert tab["url_route"] != views(tabs=False)[0]["url_route"], "routes are unique over all plugins"


def test_the_page_is_below_the_path_of_the_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.org/team/airflow/")
    assert views(tabs=False)[0]["href"] == "/team/airflow/message-batches/"
    address = page_in_airflow(dag_id="d", run_id="r", task_id="t", map_index=-1)
    assert address.startswith("/team/airflow/plugin/message-batches?")


def test_a_tasks_link_names_the_task_instance_whatever_its_run_is_called() -> None:
    class Key:
        dag_id, run_id, task_id, map_index = "a&b", "manual__2026-11-01T00:00:00+00:00", "t t", 3

    link = MessageBatchesPageLink().get_link(None, ti_key=Key())  # type: ignore[arg-type]  # as Airflow calls it
    assert parse_qs(urlsplit(link).query) == {
        "dag_id": ["a&b"],
        "run_id": ["manual__2026-11-01T00:00:00+00:00"],
        "task_id": ["t t"],
        "map_index": ["3"],
    }


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator_that_the_page_shows_exists_and_links_to_it(name: str) -> None:
    modules = (operators, sensors, message_batch, message_batch_job)
    found = next(getattr(module, name) for module in modules if hasattr(module, name))
    assert "Message Batches" in {link.name for link in found.operator_extra_links}


def test_the_page_and_the_tab_are_for_the_same_operators() -> None:
    table = (UI / "operators.ts").read_text().partition("OPERATORS")[2].partition("};")[0]
    assert set(re.findall(r"^  (\w+):", table, re.MULTILINE)) == set(OPERATORS)


def test_the_files_are_served_with_a_policy_that_allows_nothing_inline_and_no_other_host(files: TestClient) -> None:
    for name, kind in (("/", "text/html"), ("/page.js", "javascript"), ("/page.css", "text/css")):
        answer = files.get(name)
        assert answer.status_code == 200
        assert kind in answer.headers["content-type"]
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_but_the_files_is_served(files: TestClient) -> None:
    assert files.post("/").status_code == 405
    for name in ("/../plugin.py", "/%2e%2e/plugin.py", "/docs", "/openapi.json"):
        assert files.get(name).status_code == 404


def test_the_built_files_are_small_and_name_no_host() -> None:
    sizes = {file.name: file.stat().st_size for file in STATIC.iterdir()}
    assert set(sizes) == {"index.html", "page.js", "page.css"}
    assert sizes["page.js"] < 100_000
    script = (STATIC / "page.js").read_text()
    assert set(re.findall(r"https?://[\w.]+", script)) == {"http://www.w3.org"}, "the name of SVG, which is not called"
