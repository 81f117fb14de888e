"""A browser in front of a real Airflow, which is below a path, as behind many reverse proxies."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, FrameLocator, Page, sync_playwright

from tests.browser.site import Site, running_site

CROWD: Final = 5_000
"""Batches of the DAG `crowd`."""
PATIENCE_MS: Final = 120_000
"""Milliseconds until an expectation fails. Chosen: many times what a busy machine needs."""
SCREENSHOTS: Final = Path(__file__).parent / "screenshots"
PLUGIN: Final = "/plugin/message-batches"


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    """Airflow at `/team/airflow` with four DAGs (`tests.browser.seed`)."""
    with running_site(path="/team/airflow", crowd=CROWD) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


class Reader:
    """A person with a browser who is logged in to Airflow.

    :param page: the browser's page.
    :param context: the browser's session.
    :param site: Airflow.
    """

    def __init__(self, page: Page, context: BrowserContext, site: Site) -> None:
        self.page = page
        self.context = context
        self.site = site
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def open(self, query: str = "") -> FrameLocator:
        """Open the page inside Airflow, and return it."""
        self.page.goto(f"{self.site.url}{PLUGIN}{query}")
        frame = self.page.frame_locator("iframe[title='Message Batches']")
        frame.locator(".refreshed:not(:empty), [role=alert]:not(:empty)").first.wait_for()
        return frame

    def frame(self) -> Frame:
        """Return the page's frame, for scripts."""
        (found,) = [frame for frame in self.page.frames if "/message-batches/" in frame.url and frame.parent_frame]
        return found

    def keep(self, name: str) -> None:
        """Keep a screenshot for people."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


LogIn = Callable[..., Reader]


@pytest.fixture
def log_in(browser: Browser, site: Site) -> Iterator[LogIn]:
    """Make a reader: `log_in("vera", width=900, dark=True)`."""
    contexts: list[BrowserContext] = []

    def reader(user: str = "", *, width: int = 1300, dark: bool = False) -> Reader:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        if user:
            context.add_cookies([{"name": "_token", "value": site.token(user), "url": site.url}])
        return Reader(context.new_page(), context, site)

    yield reader
    for context in contexts:
        context.close()
