"""The page by keyboard, and under the rules of axe-core."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE_MS, LogIn, Reader
from tests.contract.installations import installed, npm

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

AXE = "4.14.1"


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The rules of axe-core, as a script."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder: Path = installed(shared, f"axe-core-{AXE}", npm(f"axe-core@{AXE}"))
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


def violations(reader: Reader, axe: str) -> list[str]:
    frame = reader.frame()
    frame.evaluate(axe)
    found: list[dict[str, Any]] = frame.evaluate("axe.run(document).then((found) => found.violations)")
    return [f"{each['id']}: {node['html'][:120]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("user", "query"),
    [("one", ""), ("vera", "?dag_id=under_way"), ("vera", "?dag_id=hostile"), ("none", ""), ("stranger", "")],
)
def test_axe_finds_nothing(log_in: LogIn, axe: str, user: str, query: str, dark: bool) -> None:
    reader = log_in(user, dark=dark)
    page = reader.open(query)
    for details in page.locator("details").all():
        details.locator("summary").click()
    assert not violations(reader, axe)


def test_the_keyboard_reaches_each_control_in_order(log_in: LogIn) -> None:
    reader = log_in("one")
    page = reader.open()
    page.get_by_label("Last").focus()
    names = []
    for _ in range(8):
        names.append(
            reader.frame().evaluate(
                "(() => { const e = document.activeElement; "
                "return e.getAttribute('aria-label') ?? e.labels?.[0]?.firstChild.textContent ?? e.textContent; })()"
            )
        )
        reader.page.keyboard.press("Tab")
    assert names[:5] == ["Last", "DAG", "State", "Search", "Refresh"]
    assert "Jobs and batches" in names
    assert {"answer", "submit"} & set(names)


def test_the_focus_stays_where_it_is_when_the_page_is_refreshed(log_in: LogIn) -> None:
    reader = log_in("vera")
    page = reader.open("?dag_id=under_way")
    link = page.get_by_role("link", name="answer")
    link.focus()
    with reader.page.expect_response(lambda response: "updated_at_gte" in response.url):
        pass
    expect(link).to_be_focused(timeout=PATIENCE_MS)
