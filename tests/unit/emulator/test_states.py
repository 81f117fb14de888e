"""From create to archive: what each state shows and allows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_batches.emulator import Emulator
from tests.unit.emulator.client import Client, lines
from tests.unit.emulator.conftest import Start

HOUR = 3600
DAY = 24 * HOUR


def counts(client: Client, batch: str) -> dict[str, int]:
    found = client.get(batch).json()["request_counts"]
    return {name: count for name, count in found.items() if count}


def when(client: Client, batch: str, member: str) -> datetime:
    return datetime.fromisoformat(client.get(batch).json()[member])


def error(response: Any) -> tuple[int, str, str]:
    answer = response.json()["error"]
    return response.status_code, answer["type"], answer["message"]


def test_a_batch_ends_when_its_time_is_over(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=60)
    batch = client.made(lines(3))
    emulator.clock.advance(59)
    running = client.get(batch)
    assert running.json()["processing_status"] == "in_progress"
    assert running.headers["retry-after"] == "10"
    emulator.clock.advance(1)
    ended = client.get(batch)
    assert ended.json()["processing_status"] == "ended"
    assert "retry-after" not in ended.headers
    assert when(client, batch, "ended_at") - when(client, batch, "created_at") == timedelta(seconds=60)
    assert ended.json()["results_url"].endswith(f"{batch}/results")
    assert counts(client, batch) == {"succeeded": 3}


def test_all_requests_are_in_processing_until_the_end(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=100)
    batch = client.made(lines(10))
    emulator.clock.advance(99)
    assert counts(client, batch) == {"processing": 10}


def test_counts_can_be_made_to_move_while_the_batch_runs(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=100, incremental_counts=True, errored_share=0.5)
    batch = client.made(lines(10))
    assert counts(client, batch) == {"processing": 10}
    emulator.clock.advance(50)
    halfway = counts(client, batch)
    assert halfway["processing"] == 5
    assert sum(halfway.values()) == 10
    emulator.clock.advance(50)
    assert sum(counts(client, batch).values()) == 10
    assert "processing" not in counts(client, batch)


@pytest.mark.parametrize("state", ["in_progress", "canceling"])
def test_results_are_not_there_before_the_end(state: str, start_kept: Start) -> None:
    _, client = start_kept(processing_time=60)
    batch = client.made(lines(1))
    if state == "canceling":
        client.cancel(batch)
    response = client.results(batch)
    assert error(response) == (404, "not_found_error", f"Message Batch {batch} has no available results.")
    assert response.headers["x-should-retry"] == "false"


def test_a_canceled_batch_is_canceling_first_and_its_counts_stay(start_kept: Start) -> None:
    _, client = start_kept(processing_time=60, cancel_time=1000)
    batch = client.made(lines(3))
    canceling = client.cancel(batch).json()
    assert canceling["processing_status"] == "canceling"
    assert canceling["cancel_initiated_at"] is not None
    assert canceling["results_url"] is None
    assert canceling["request_counts"]["processing"] == 3
    assert client.get(batch).json() == canceling
    assert "retry-after" not in client.get(batch).headers


def test_canceling_ends_with_every_line_canceled(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=60)
    batch = client.made(lines(3))
    initiated = client.cancel(batch).json()["cancel_initiated_at"]
    emulator.clock.advance(1)
    ended = client.get(batch).json()
    assert ended["processing_status"] == "ended"
    assert ended["cancel_initiated_at"] == initiated
    assert when(client, batch, "ended_at") - datetime.fromisoformat(initiated) == timedelta(seconds=1)
    assert counts(client, batch) == {"canceled": 3}
    assert {result["type"] for result in client.read(batch).values()} == {"canceled"}


def test_lines_that_have_run_when_the_cancel_comes_keep_their_result(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=1000, incremental_counts=True, cancel_time=500)
    batch = client.made(lines(10))
    emulator.clock.advance(305)
    client.cancel(batch)
    assert counts(client, batch) == {"processing": 7, "succeeded": 3}
    emulator.clock.advance(500)
    assert counts(client, batch) == {"succeeded": 3, "canceled": 7}
    kept = {custom_id for custom_id, result in client.read(batch).items() if result["type"] == "succeeded"}
    assert kept == {"row-0", "row-1", "row-2"}


def test_canceling_again_changes_nothing(start_kept: Start) -> None:
    _, client = start_kept(processing_time=60, cancel_time=60)
    batch = client.made(lines(1))
    assert client.cancel(batch).json() == client.cancel(batch).json()


def test_cancel_after_the_end_returns_the_batch_or_is_refused(start_kept: Start) -> None:
    emulator, client = start_kept()
    batch = client.made(lines(1))
    assert client.cancel(batch).json() == client.get(batch).json()
    emulator.settings.cancel_after_ended = 400
    refused = client.cancel(batch)
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")


def test_after_24_hours_a_batch_ends_and_what_was_not_reached_expires(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=4 * DAY)
    batch = client.made(lines(8))
    emulator.clock.advance(DAY - 60)
    assert counts(client, batch) == {"processing": 8}
    emulator.clock.advance(61)
    assert when(client, batch, "ended_at") == when(client, batch, "expires_at")
    assert counts(client, batch) == {"succeeded": 2, "expired": 6}
    types = {custom_id: result["type"] for custom_id, result in client.read(batch).items()}
    assert {c for c, t in types.items() if t == "succeeded"} == {"row-0", "row-1"}


def test_a_batch_that_never_gets_anywhere_expires_whole(start: Start) -> None:
    emulator, client = start(processing_time=1e9)
    batch = client.made(lines(5))
    emulator.clock.advance(DAY)
    assert counts(client, batch) == {"expired": 5}


def test_results_go_29_days_after_create_and_the_batch_stays(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=HOUR)
    batch = client.made(lines(2))
    emulator.clock.advance(29 * DAY - 60)
    assert client.get(batch).json()["archived_at"] is None
    assert client.results(batch).status_code == 200
    emulator.clock.advance(60)
    archived = client.get(batch).json()
    assert when(client, batch, "archived_at") - when(client, batch, "created_at") == timedelta(days=29)
    assert (archived["processing_status"], archived["request_counts"]["succeeded"]) == ("ended", 2)
    assert error(client.results(batch))[::2] == (404, f"Message Batch {batch} has no available results.")
    assert client.delete(batch).status_code == 200


def test_delete_is_refused_before_the_end(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=60)
    batch = client.made(lines(1))
    message = "In progress batches cannot be deleted. Consider canceling the batch instead."
    assert error(client.delete(batch)) == (400, "invalid_request_error", message)
    client.cancel(batch)
    refused = client.delete(batch)
    assert error(refused)[2] == (
        f"Batch `{batch}` has not finished canceling. Please wait for cancellation to completed before deleting."
    )
    assert refused.headers["x-should-retry"] == "false"
    emulator.clock.advance(1)
    assert client.delete(batch).json() == {"id": batch, "type": "message_batch_deleted"}


def test_a_deleted_batch_is_gone(start_kept: Start) -> None:
    _, client = start_kept()
    kept, gone = client.made(lines(1)), client.made(lines(1))
    client.delete(gone)
    for call in (client.get, client.results, client.cancel, client.delete):
        assert error(call(gone)) == (404, "not_found_error", f"Message Batch {gone} not found.")
    assert [batch["id"] for batch in client.list().json()["data"]] == [kept]


def test_ids_are_read_from_the_path_unquoted(start: Start) -> None:
    _, client = start()
    assert error(client.get("a%2Fb"))[2] == "Message Batch a/b not found."


def test_a_fresh_batch_may_be_not_found_for_a_while(start_kept: Start) -> None:
    emulator, client = start_kept(fresh_404=5)
    batch = client.made(lines(1))
    assert client.get(batch).status_code == client.results(batch).status_code == 404
    assert client.list().json()["first_id"] == batch
    emulator.clock.advance(5)
    assert client.get(batch).status_code == client.results(batch).status_code == 200


def test_a_test_can_end_a_batch_now(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=DAY)
    first, second, third = (client.made(lines(2)) for _ in range(3))
    assert emulator.end(first)["processing_status"] == "ended"
    assert counts(client, first) == {"succeeded": 2}
    ended_at = client.get(first).json()["ended_at"]
    client.cancel(second)
    assert emulator.end_all() == 2
    assert counts(client, second) == {"canceled": 2}
    assert counts(client, third) == {"succeeded": 2}
    assert emulator.end(first)["ended_at"] == ended_at
    with pytest.raises(KeyError):
        emulator.end("msgbatch_unknown")


def test_a_test_can_archive_a_batch_now(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=DAY)
    batch = client.made(lines(1))
    assert emulator.archive(batch)["archived_at"] is not None
    assert client.results(batch).status_code == 404
    assert client.get(batch).json() == emulator.batches()[0]


def test_settings_count_for_batches_made_from_then_on(start: Start) -> None:
    emulator, client = start(processing_time=DAY)
    slow = client.made(lines(1))
    emulator.settings.processing_time = 0
    assert client.get(slow).json()["processing_status"] == "in_progress"
    assert client.create(lines(1)).json()["processing_status"] == "ended"


def test_reset_goes_back_to_the_start(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=7)
    batch = client.made(lines(1))
    emulator.clock.advance(HOUR)
    emulator.settings.processing_time = 0
    emulator.reset()
    assert emulator.batches() == []
    assert client.get(batch).status_code == 404
    assert emulator.counters["create"] == 0
    assert emulator.settings.processing_time == 7
    assert emulator.clock.offset == 0


def test_the_clock_only_moves_forward(emulator: Emulator) -> None:
    before = emulator.clock.now()
    assert emulator.clock.advance(DAY) - before >= timedelta(days=1)
    for seconds in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="forward"):
            emulator.clock.advance(seconds)
