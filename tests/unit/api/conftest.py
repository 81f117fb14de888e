"""What the client's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_batches.api import BatchesClient, RetryPolicy

KEY = "sk-ant-api03-SECRET"
SOON = RetryPolicy(attempts=3, base=0.0)
"""Three attempts without a pause."""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about direct connections, whatever the machine's proxy is."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def client() -> Iterator[BatchesClient]:
    """A client of the API's own address, for answers by requests-mock."""
    with BatchesClient(KEY, retry=SOON) as running:
        yield running


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds slept between attempts and polls, none of which pass."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept
