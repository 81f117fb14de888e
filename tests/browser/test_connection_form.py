"""The connection form and its Test button in a real browser, on an Airflow of its own that allows tests."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.provider import CONNECTION_TYPE
from tests.browser.conftest import PATIENCE_MS, SCREENSHOTS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

EXTRAS: Final = {
    "model": "claude-haiku-4-5",
    "auth": "bearer",
    "anthropic_version": "2023-06-01",
    "anthropic_beta": "one-2026-01-01, two-2026-01-01",
    "workspace_id": "wrkspc_01",
    "timeout": 12.5,
    "headers": {"x-team": "lake"},
}


@pytest.fixture(scope="module")
def airflow() -> Iterator[PrivateAirflow]:
    """An Airflow whose Test button is enabled."""
    with PrivateAirflow(dags=[], settings={"CORE__TEST_CONNECTION": "Enabled"}) as running:
        yield running


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(retry_after=0) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a person who may do everything; this Airflow asks for no password."""
    context = browser.new_context(viewport={"width": 1300, "height": 1400})
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    yield context.new_page()
    context.close()


def fields(url: str, **more: Any) -> dict[str, Any]:
    """The fields of a connection. With a port: Airflow 3.3.1 and 3.3.2 test no saved connection without one."""
    place = urlsplit(url)
    return {"host": f"{place.scheme}://{place.hostname}", "port": place.port, **more}


def connections(page: Page, airflow: PrivateAirflow) -> None:
    page.goto(f"{airflow.api.url}/connections")


def choose(form: Locator, label: str, option: str) -> None:
    form.get_by_label(label).fill(option)
    form.page.get_by_role("option", name=option).click()


def fill_in(form: Locator, given: dict[str, Any]) -> None:
    """Fill in the whole form. Airflow 3.3 ties the labels of text fields to no field, so these have their names."""
    choose(form, "Connection Type", "Anthropic Message Batches")
    form.get_by_label("Base URL").fill(given["host"])
    form.get_by_label("Port").fill(str(given["port"]))
    form.get_by_label("API key").fill(given["password"])
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    for name in ("model", "anthropic_beta", "workspace_id", "timeout"):
        form.locator(f"[name=element_{name}]").fill(str(EXTRAS[name]))
    choose(form, "Key sent as", str(EXTRAS["auth"]))
    choose(form, "API version", str(EXTRAS["anthropic_version"]))
    form.locator(".monaco-editor").first.click()
    keys = form.page.keyboard
    keys.press("Control+A")
    keys.insert_text(json.dumps(EXTRAS["headers"]))
    keys.press("Shift+Control+End")  # the editor closes brackets by itself
    keys.press("Delete")


def test_all_fields_are_saved_and_the_key_is_not_shown_again(
    page: Page, airflow: PrivateAirflow, emulator: Emulator
) -> None:
    key = str(emulator.api_key)
    answers: list[str] = []
    page.on("response", lambda answer: answers.append(answer.text()) if "/api/v2/connections" in answer.url else None)
    connections(page, airflow)
    page.get_by_role("button", name="Add Connection").first.click()
    form = page.get_by_role("dialog")
    form.get_by_label("Connection ID").fill("all_fields")
    fill_in(form, fields(emulator.url, password=key))
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "connection-form.png")
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="hidden")

    page.get_by_role("row").filter(has_text="all_fields").get_by_role("button", name="Edit Connection").click()
    form = page.get_by_role("dialog")
    expect(form.locator("[name=password]")).to_have_value("***")
    expect(form.locator("[name=host]")).to_have_value("http://127.0.0.1")
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    for name in ("model", "auth", "anthropic_version", "anthropic_beta", "workspace_id", "timeout"):
        expect(form.locator(f"[name=element_{name}]")).to_have_value(str(EXTRAS[name]))
    stored = airflow.api.call("GET", "/api/v2/connections/all_fields")
    assert json.loads(stored["extra"]) == EXTRAS
    assert answers
    assert not [answer for answer in answers if key in answer]
    assert key not in page.content()


@contextmanager
def proxy() -> Iterator[str]:
    """A proxy that answers everything with its login page."""

    class LoginPage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = b"<html><title>Guest network: please log in</title></html>"
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), LoginPage)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    """A port of this host on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def tested(page: Page, airflow: PrivateAirflow, **given: Any) -> str:
    """Save a connection, press its Test button, and return what the page says."""
    connection = {"connection_id": "tested", "conn_type": CONNECTION_TYPE, **given}
    airflow.api.call("POST", "/api/v2/connections", json=connection)
    try:
        connections(page, airflow)
        row = page.get_by_role("row").filter(has_text="tested")
        row.get_by_role("button", name="Test Connection").click()
        said = page.locator("[data-scope=toast][data-part=root]").first
        said.wait_for()
        return said.inner_text()
    finally:
        airflow.api.call("DELETE", "/api/v2/connections/tested")


def test_a_good_key_is_accepted(page: Page, airflow: PrivateAirflow, emulator: Emulator) -> None:
    said = tested(page, airflow, **fields(emulator.url, password=str(emulator.api_key)))
    assert said.startswith("Test Connection Successful")
    assert f"{emulator.url} accepts the key." in said


def test_a_wrong_key_is_refused_with_what_to_do(page: Page, airflow: PrivateAirflow, emulator: Emulator) -> None:
    said = tested(page, airflow, **fields(emulator.url, password="sk-ant-this-is-not-the-key"))
    assert said.startswith("Test Connection Failed")
    assert "401 authentication_error" in said
    assert "Check the connection's password" in said
    assert "sk-ant-this-is-not-the-key" not in page.content()


def test_a_key_without_permission_is_told_from_a_wrong_one(
    page: Page, airflow: PrivateAirflow, emulator: Emulator
) -> None:
    emulator.configure(denied=("list",))
    said = tested(page, airflow, **fields(emulator.url, password=str(emulator.api_key)))
    assert "403 permission_error" in said
    assert "The key's workspace lacks this permission" in said


def test_a_host_that_does_not_answer_is_named(page: Page, airflow: PrivateAirflow) -> None:
    port = closed_port()
    said = tested(page, airflow, **fields(f"http://127.0.0.1:{port}", password="sk-ant-any"))
    assert f"The connection (http://127.0.0.1:{port}): the connection failed" in said


def test_a_host_that_is_silent_ends_the_test_at_the_timeout(
    page: Page, airflow: PrivateAirflow, emulator: Emulator
) -> None:
    emulator.fault(Fault(endpoint="list", action="stall", seconds=600.0, times=None))
    extra = json.dumps({"timeout": 1})
    said = tested(page, airflow, extra=extra, **fields(emulator.url, password=str(emulator.api_key)))
    assert said.startswith("Test Connection Failed")
    assert "timed out" in said.lower()


def test_the_page_of_a_proxy_is_recognized(page: Page, airflow: PrivateAirflow) -> None:
    with proxy() as url:
        said = tested(page, airflow, **fields(url, password="sk-ant-any"))
    assert "Guest network" in said
    assert "Another server answered, such as a proxy with its login page" in said
