"""What the page shows of real and inserted runs, and how a reader moves in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Error, FrameLocator, Locator, expect

from tests.browser.conftest import CROWD, PATIENCE_MS, LogIn

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE_MS)
    yield
    expect.set_options(timeout=5_000)


def rows(page: FrameLocator) -> Locator:
    return page.locator("tr[data-task]")


def row(page: FrameLocator, task: str) -> Locator:
    return rows(page).filter(has=page.get_by_role("link", name=task, exact=True))


def said(page: FrameLocator) -> Locator:
    return page.get_by_role("status")


def test_the_menu_browse_leads_to_the_page(log_in: LogIn) -> None:
    reader = log_in("one")
    reader.page.goto(reader.site.url)
    reader.page.get_by_role("button", name="Browse").first.click()
    reader.page.get_by_role("menuitem", name="Message Batches").click()
    page = reader.page.frame_locator("iframe[title='Message Batches']")
    expect(said(page)).to_have_text("2 jobs or batches.")


def test_a_job_that_has_ended_is_told_from_its_manifest(log_in: LogIn) -> None:
    reader = log_in("one")
    job = row(reader.open(), "answer")
    expect(job).to_contain_text("Reviews of July")
    expect(job).to_contain_text("success")
    expect(job).to_contain_text("12 succeeded")
    expect(job).to_contain_text(re.compile(r"(\d) of \1 batches landed, round 2, canary landed"))
    expect(job).to_contain_text(re.compile(r"\$0\.\d+.*estimate \$0\.\d+ to \$0\.\d+"))
    expect(job).to_contain_text("/answers/results-00000.jsonl")
    expect(job).to_contain_text("msgbatch_")
    reader.keep("ended")


def test_a_batch_is_told_from_its_receipt_and_from_the_task_that_landed_it(log_in: LogIn) -> None:
    batch = row(log_in("one").open(), "submit")
    expect(batch).to_contain_text("11 succeeded, 1 errored")
    expect(batch).to_contain_text("/landed.jsonl")


def test_what_is_under_way_says_how_far_it_is_and_when_it_expires(log_in: LogIn) -> None:
    reader = log_in("vera")
    page = reader.open("?dag_id=under_way")
    expect(row(page, "answer")).to_contain_text("399,998 succeeded, 2 errored, 250,000 under way, 50,002 unsent")
    expect(row(page, "answer")).to_contain_text("4 of 7 batches landed, round 2")
    expect(row(page, "answer")).to_contain_text("$12.35$20.50 projectedestimate $3.50 to $35.00")
    expect(row(page, "answer")).to_contain_text("expires in 3 h")
    expect(row(page, "submit")).to_contain_text("1,000 under way")
    reader.keep("under way")


def test_five_thousand_batches_are_listed_page_by_page_the_newest_first(log_in: LogIn) -> None:
    reader = log_in("adam")
    page = reader.open()
    expect(said(page)).to_contain_text("newest 5,000 of 5,0")
    expect(rows(page)).to_have_count(25)
    expect(rows(page).first).to_contain_text("Reviews of July")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2 of 200")).to_be_visible()
    expect(rows(page).first).to_contain_text("msgbatch_00022")
    reader.keep("crowd")
    page.get_by_role("searchbox").fill(f"_{10_003 + CROWD // 2}")
    expect(rows(page)).to_have_count(1)
    expect(rows(page).first).to_contain_text(f"msgbatch_{CROWD // 2:05}")
    page.get_by_role("searchbox").fill("no such task")
    expect(said(page)).to_have_text("No job or batch matches the filters.")


def test_filters_stay_in_the_address(log_in: LogIn) -> None:
    reader = log_in("adam")
    page = reader.open("?dag_id=crowd")
    page.get_by_label("State").select_option("failed")
    expect(said(page)).to_contain_text(f"{CROWD // 50} jobs or batches.")
    expect(reader.page).to_have_url(re.compile(r"dag_id=crowd.*state=failed|state=failed.*dag_id=crowd"))
    reader.page.reload()
    expect(said(page)).to_contain_text(f"{CROWD // 50} jobs or batches.")
    expect(page.get_by_label("DAG")).to_have_value("crowd")


def test_the_link_of_a_task_shows_that_task_only(log_in: LogIn) -> None:
    reader = log_in("one")
    everything = reader.open()
    address = row(everything, "answer").get_by_role("link").get_attribute("href") or ""
    run = address.split("/runs/")[1].split("/")[0]
    page = reader.open(f"?dag_id=reviews&run_id={run}&task_id=answer&map_index=-1")
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_text("Only task answer of run manual__")).to_be_visible()
    page.get_by_role("button", name="Show all tasks").click()
    expect(rows(page)).to_have_count(2)


def test_airflow_links_from_the_task_to_the_page(log_in: LogIn) -> None:
    reader = log_in("one")
    address = row(reader.open(), "answer").get_by_role("link").get_attribute("href") or ""
    run = address.split("/runs/")[1].split("/")[0]
    instance = f"{reader.site.url}/api/v2/dags/reviews/dagRuns/{run}/taskInstances/answer"
    links = reader.context.request.get(f"{instance}/links").json()["extra_links"]
    query = f"dag_id=reviews&run_id={run}&task_id=answer&map_index=-1"
    assert links["Message Batches"] == f"/team/airflow/plugin/message-batches?{query}"
    page = reader.open(links["Message Batches"].removeprefix("/team/airflow/plugin/message-batches"))
    expect(rows(page)).to_have_count(1)


def test_the_link_of_a_row_opens_the_task_in_airflow(log_in: LogIn) -> None:
    reader = log_in("one")
    row(reader.open(), "answer").get_by_role("link").click()
    expect(reader.page).to_have_url(re.compile(r"/team/airflow/dags/reviews/runs/manual__[^/]+/tasks/answer"))


def test_the_costs_are_drawn_and_told_in_numbers(log_in: LogIn) -> None:
    reader = log_in("vera")
    page = reader.open("?dag_id=hostile")
    expect(page.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"^Cost by day and DAG: \$1\.50 in all"))
    page.get_by_text("The numbers").click()
    expect(page.locator("details td").first).to_have_text("$1.50")


def test_what_runs_is_read_again_by_itself(log_in: LogIn) -> None:
    reader = log_in("vera")
    page = reader.open("?dag_id=under_way")
    with reader.page.expect_request(lambda request: "updated_at_gte" in request.url) as request:
        expect(row(page, "answer")).to_be_visible()
    assert "/team/airflow/api/v2/" in request.value.url


def test_hostile_text_is_shown_as_text(log_in: LogIn) -> None:
    reader = log_in("adam")
    page = reader.open("?dag_id=hostile")
    expect(rows(page).get_by_role("link")).to_contain_text("<script>parent.hurt=1</script>")
    expect(rows(page).locator(".dag")).to_contain_text("<script>parent.hurt=1</script>")
    expect(rows(page)).to_contain_text("javascript:parent.hurt=1")
    assert page.locator("img, tbody script, a[href^=javascript]").count() == 0
    assert reader.page.evaluate("window.hurt") is None
    reader.keep("hostile")


def test_only_airflow_itself_is_called_and_nothing_is_inline(log_in: LogIn) -> None:
    reader = log_in("one")
    reader.open()
    assert reader.hosts == {reader.site.url.split("/")[2]}
    assert not reader.problems
    html = reader.context.request.get(f"{reader.site.url}/message-batches/").text()
    assert "style=" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)


@pytest.mark.parametrize(
    "attempt",
    [
        "document.body.innerHTML = '<b>in</b>'",
        "document.body.setAttribute('onclick', 'parent.hurt = 1')",
        "document.createElement('script').text = 'parent.hurt = 1'",
    ],
)
def test_the_policy_stops_text_that_would_become_markup_or_script(log_in: LogIn, attempt: str) -> None:
    reader = log_in("none")
    reader.open()
    with pytest.raises(Error, match="Trusted"):
        reader.frame().evaluate(attempt)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [900, 2500])
def test_the_page_fits_its_window(log_in: LogIn, width: int, dark: bool) -> None:
    reader = log_in("adam", width=width, dark=dark)
    page = reader.open("?days=1")
    expect(rows(page)).to_have_count(25)
    for part in ("document.documentElement", "document.querySelector('.scroll')"):
        wide, room = reader.frame().evaluate(f"[{part}.scrollWidth, {part}.clientWidth]")
        assert wide <= room
    state_lines = "[...document.querySelectorAll('.state')].map((state) => state.getClientRects().length)"
    assert set(reader.frame().evaluate(state_lines)) == {1}, "no word is broken"
    reader.keep(f"{width} pixels {'dark' if dark else 'light'}")


BEHIND = """
(() => {
  let behind = window.frameElement;
  const colour = () => getComputedStyle(behind).backgroundColor;
  while (behind.parentElement && colour() === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  return [getComputedStyle(document.body).backgroundColor, colour(), document.documentElement.dataset.theme];
})()
"""
"""The page's background, the one behind its frame, and the theme."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_theme_and_background_are_airflows(log_in: LogIn, theme: str) -> None:
    reader = log_in("one", dark=theme == "dark")
    reader.open()
    mine, behind, found = reader.frame().evaluate(BEHIND)
    assert (mine, found) == (behind, theme)
    reader.keep(theme)
