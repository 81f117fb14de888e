"""Listing: newest first, in both directions, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.emulator.client import Client, lines
from tests.unit.emulator.conftest import Start


def made(client: Client, count: int) -> list[str]:
    """Ids of new batches, newest first."""
    return [client.made(lines(1)) for _ in range(count)][::-1]


def ids(page: dict[str, Any]) -> list[str]:
    return [batch["id"] for batch in page["data"]]


def pages(client: Client, cursor: str, edge: str, limit: int, **query: str) -> Iterator[list[str]]:
    """Pages in one direction, until has_more says no."""
    while True:
        page = client.list(limit=limit, **query).json()
        assert (page["first_id"], page["last_id"]) == (ids(page)[0], ids(page)[-1])
        yield ids(page)
        if not page["has_more"]:
            return
        query = {cursor: page[edge]}


def test_a_page_has_four_members_in_wire_order_and_no_type(start_kept: Start) -> None:
    _, client = start_kept()
    newest_first = made(client, 3)
    page = client.list().json()
    assert list(page) == ["data", "has_more", "first_id", "last_id"]
    assert ids(page) == newest_first
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, newest_first[0], newest_first[-1])
    assert page["data"][0] == client.get(newest_first[0]).json()


def test_an_empty_page_has_no_ids(start_kept: Start) -> None:
    _, client = start_kept()
    assert client.list().text == '{"data":[],"has_more":false,"first_id":null,"last_id":null}'


def test_the_default_page_has_twenty_batches(start: Start) -> None:
    _, client = start()
    newest_first = made(client, 21)
    page = client.list().json()
    assert ids(page) == newest_first[:20]
    assert page["has_more"] is True


def test_a_page_of_one_has_equal_ids(start: Start) -> None:
    _, client = start()
    newest_first = made(client, 2)
    page = client.list(limit=1).json()
    assert page["first_id"] == page["last_id"] == newest_first[0]
    assert page["has_more"] is True


def test_before_id_gives_the_batches_next_newer_still_newest_first(start_kept: Start) -> None:
    _, client = start_kept()
    e, d, c, b, a = made(client, 5)
    page = client.list(before_id=a, limit=2).json()
    assert (ids(page), page["has_more"]) == ([c, b], True)
    page = client.list(before_id=c, limit=2).json()
    assert (ids(page), page["has_more"]) == ([e, d], False)
    page = client.list(before_id=e).json()
    assert (page["data"], page["has_more"], page["first_id"]) == ([], False, None)


def test_after_id_gives_the_batches_next_older(start_kept: Start) -> None:
    _, client = start_kept()
    e, d, c, b, a = made(client, 5)
    page = client.list(after_id=e, limit=2).json()
    assert (ids(page), page["has_more"]) == ([d, c], True)
    page = client.list(after_id=c, limit=2).json()
    assert (ids(page), page["has_more"]) == ([b, a], False)
    assert client.list(after_id=a).json()["data"] == []


@given(count=st.integers(1, 12), limit=st.integers(1, 15), deleted=st.sets(st.integers(0, 11), max_size=4))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_paging_meets_every_batch_once_in_either_direction(
    start: Start, count: int, limit: int, deleted: set[int]
) -> None:
    _, client = start()
    newest_first = made(client, count)
    left = [batch for number, batch in enumerate(newest_first) if number not in deleted]
    for batch in set(newest_first) - set(left):
        client.delete(batch)
    if not left:
        return
    older = list(pages(client, "after_id", "last_id", limit))
    assert [batch for page in older for batch in page] == left
    if len(left) > 1:
        newer = list(pages(client, "before_id", "first_id", limit, before_id=left[-1]))
        assert [batch for page in reversed(newer) for batch in page] == left[:-1]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": 0}, "limit: Input should be greater than or equal to 1"),
        ({"limit": 1001}, "limit: Input should be less than or equal to 1000"),
        ({"limit": "ten"}, "limit: Input should be a valid integer, unable to parse string as an integer"),
        ({"after_id": "msgbatch_x"}, "after_id: Message Batch msgbatch_x not found."),
        ({"before_id": "msgbatch_x"}, "before_id: Message Batch msgbatch_x not found."),
        ({"before_id": "a", "after_id": "b"}, "Only one of after_id and before_id may be given."),
    ],
)
def test_a_query_is_refused_for(query: dict[str, Any], message: str, start: Start) -> None:
    _, client = start()
    response = client.list(**query)
    assert response.status_code == 400
    assert response.json()["error"] == {"type": "invalid_request_error", "message": message}


def test_a_thousand_batches_fit_one_page(start_kept: Start) -> None:
    emulator, client = start_kept()
    newest_first = made(client, 1001)
    page = client.list(limit=1000).json()
    assert ids(page) == newest_first[:1000]
    assert page["has_more"] is True
    assert [batch["id"] for batch in emulator.batches()] == newest_first


def test_models_are_listed_and_paged_like_batches(start: Start) -> None:
    emulator, client = start()
    client.url = emulator.url + "/v1/models"
    page = client.list().json()
    names = ids(page)
    assert list(page) == ["data", "has_more", "first_id", "last_id"]
    assert "claude-haiku-4-5-20251001" in names
    assert [name for some in pages(client, "after_id", "last_id", 5) for name in some] == names
    newer = pages(client, "before_id", "first_id", 5, before_id=names[-1])
    assert [name for some in reversed(list(newer)) for name in some] == names[:-1]
    assert client.list(after_id="claude-none").status_code == 400
    assert client.list(before_id=names[0]).json()["data"] == []
    assert emulator.counters["models"] > 0
