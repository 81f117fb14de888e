"""Who sees what: the page shows what Airflow lets the reader read, and nothing else."""

from __future__ import annotations

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE_MS, LogIn
from tests.browser.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("user", ["adam", "uma", "vera"])
def test_admin_user_and_viewer_see_the_same(log_in: LogIn, user: str) -> None:
    page = log_in(user).open("?dag_id=under_way&state=under+way")
    expect(page.get_by_role("status")).to_contain_text("2 jobs or batches.", timeout=PATIENCE_MS)
    expect(page.locator("tbody").first).to_contain_text("399,998 succeeded", timeout=PATIENCE_MS)


def test_a_reader_of_one_dag_sees_no_other(log_in: LogIn) -> None:
    page = log_in("one").open()
    expect(page.get_by_role("status")).to_have_text("2 jobs or batches.", timeout=PATIENCE_MS)
    assert page.get_by_label("DAG").locator("option").all_inner_texts() == ["all", "Reviews of July"]


def test_a_reader_of_no_dag_is_told_that_there_is_nothing(log_in: LogIn) -> None:
    reader = log_in("none")
    page = reader.open()
    expect(page.get_by_role("status")).to_have_text(
        "No job or batch that you may read began in the last 7 days, and none is under way."
    )
    expect(page.get_by_role("table")).to_have_count(0)
    reader.keep("empty")


def test_who_may_not_read_xcoms_is_told_so_in_each_row(log_in: LogIn) -> None:
    reader = log_in("without-xcom")
    page = reader.open("?dag_id=reviews")
    note = page.get_by_text("You have no permission to read this task's XComs.")
    expect(note).to_have_count(2, timeout=PATIENCE_MS)
    reader.keep("without XComs")


def test_who_may_not_read_task_instances_is_told_what_to_ask_for(log_in: LogIn) -> None:
    reader = log_in("stranger")
    alert = reader.open().get_by_role("alert")
    expect(alert).to_contain_text("You have no permission to read task instances in Airflow.")
    reader.keep("no permission")


def test_who_is_not_logged_in_gets_the_empty_page_and_a_word(log_in: LogIn, site: Site) -> None:
    reader = log_in()
    reader.page.goto(f"{site.url}/message-batches/")
    expect(reader.page.get_by_role("alert")).to_contain_text("You are not logged in to Airflow", timeout=PATIENCE_MS)
    expect(reader.page.get_by_role("button", name="Try again")).to_be_visible()


def test_an_airflow_that_is_gone_is_said_and_tried_again(log_in: LogIn) -> None:
    reader = log_in("one")
    page = reader.open()
    reader.context.set_offline(True)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("alert")).to_contain_text("Airflow could not be read", timeout=PATIENCE_MS)
    reader.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("status")).to_have_text("2 jobs or batches.", timeout=PATIENCE_MS)
    expect(page.get_by_role("alert")).to_be_empty()


def test_no_file_of_the_page_tells_anything_and_each_has_the_policy(site: Site) -> None:
    for name in ("", "page.js", "page.css"):
        answer = requests.get(f"{site.url}/message-batches/{name}", timeout=60)
        assert answer.status_code == 200
        assert "reviews" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'self'" in policy
    for name in ("docs", "openapi.json", "%2e%2e/plugin.py", "nothing"):
        assert requests.get(f"{site.url}/message-batches/{name}", timeout=60).status_code == 404
