"""Whatever happens to the stream: every line once, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import pytest

from airflow_batches.api import ApiError, BatchesClient, RetryPolicy, StreamInterrupted, TransportError
from airflow_batches.api.digest import ids_digest, number_of
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import LandingMismatch, LandingTimeout, Manifest, land
from tests.unit.landing.support import (
    QUICK,
    client_of,
    ended_batch,
    ids_in,
    landed_lines,
    lines_of_the_api,
    names_in,
)

COUNT: Final = 20
IDS: Final = [f"r-{number}" for number in range(COUNT)]


def landed(client: BatchesClient, batch_id: str, folder: Path, **options: Any) -> Manifest:
    return land(client, batch_id, f"file://{folder}/out.jsonl", **{"retry": QUICK, **options})


def assert_whole(client: BatchesClient, batch_id: str, folder: Path) -> None:
    assert landed_lines(folder / "out.jsonl") == lines_of_the_api(client, batch_id)
    assert names_in(folder) == {"out.jsonl", "out.jsonl.manifest.json"}


def interesting_bytes(client: BatchesClient, batch_id: str) -> list[int]:
    """Where a cut could confuse a reader of the body: its ends, and around the ends of its lines."""
    with client.open_results(batch_id) as response:
        body = response.content
    ends = [at for at, byte in enumerate(body) if byte == ord("\n")]
    return sorted(
        {0, 1, len(body) - 1, len(body), *(end + by for end in (ends[0], ends[9], ends[-1]) for by in (0, 1, 2))}
    )


@pytest.mark.parametrize("action", ["cut", "end_early"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_body_that_ends_at_any_interesting_byte_is_read_again(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, action: str, times: int
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    for at in interesting_bytes(client, batch_id):
        emulator.fault(Fault(endpoint="results", action=action, times=times, after_bytes=at))
        manifest = landed(client, batch_id, tmp_path / str(at))
        emulator.faults.clear()
        assert_whole(client, batch_id, tmp_path / str(at))
        assert manifest.verified


@pytest.mark.parametrize("gzip", [False, True])
def test_readings_in_another_order_each_time_add_up(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, gzip: bool
) -> None:
    emulator.configure(order="shuffled", gzip=gzip, chunk_bytes=500)
    batch_id = ended_batch(client, 200)
    plan = emulator.fault(Fault(endpoint="results", action="cut", times=6, after_bytes=2_000 if gzip else 30_000))
    manifest = landed(client, batch_id, tmp_path, retry=RetryPolicy(attempts=8, base=0.001))
    emulator.faults.clear()
    assert_whole(client, batch_id, tmp_path)
    assert 1 < plan.struck <= manifest.readings


@pytest.mark.parametrize("status", [500, 502, 429, 529, 404])
def test_a_refused_reconnect_is_tried_again(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, status: int
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=4_000))
    emulator.fault(Fault(endpoint="results", action="status", status=status, skip=1, retry_after=0.01))
    assert landed(client, batch_id, tmp_path).readings == 3
    assert_whole(client, batch_id, tmp_path)


@pytest.mark.parametrize("action", ["reset", "drop_before_body", "drop_after_accept"])
def test_a_reset_before_the_first_byte_is_tried_again(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, action: str
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action=action, times=2))
    assert landed(client, batch_id, tmp_path).readings == 3
    assert_whole(client, batch_id, tmp_path)


@pytest.mark.parametrize("action", ["torn_line", "broken_line", "missing_line"])
@pytest.mark.parametrize("line", [0, 7, COUNT - 1])
def test_a_line_that_is_torn_or_missing_once_comes_with_the_next_reading(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, action: str, line: int
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action=action, line=line))
    assert landed(client, batch_id, tmp_path).readings == 2
    assert_whole(client, batch_id, tmp_path)


def test_a_stalled_body_is_given_up_and_read_again(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="stall", after_bytes=3_000, seconds=60))
    landed(client, batch_id, tmp_path, stall_timeout=0.2)
    assert_whole(client, batch_id, tmp_path)


def test_what_the_api_asks_for_is_waited_before_reading_again(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="status", status=503, retry_after=1))
    began = monotonic()
    landed(client, batch_id, tmp_path)
    assert monotonic() - began >= 1


def test_a_wait_that_would_outlast_the_timeout_is_not_begun(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="status", status=503, retry_after=50))
    began = monotonic()
    with pytest.raises(LandingTimeout, match=r"0 of 20 results .* came in time"):
        landed(client, batch_id, tmp_path, timeout=10.0)
    assert monotonic() - began < 9
    assert not names_in(tmp_path)


def test_slow_bytes_are_waited_for(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="slow", bytes_per_second=50_000))
    assert landed(client, batch_id, tmp_path, stall_timeout=5).readings == 1
    assert_whole(client, batch_id, tmp_path)


def test_an_answer_that_does_not_begin_is_given_up_as_a_stall(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="late_accept", seconds=60))
    assert landed(client, batch_id, tmp_path, stall_timeout=0.2).readings == 2
    assert plan.struck == 1
    assert_whole(client, batch_id, tmp_path)


@pytest.mark.parametrize("endpoint", ["get", "results"])
def test_the_overall_timeout_holds_where_no_answer_begins(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, endpoint: str
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint=endpoint, action="late_accept", times=None, seconds=60))
    with pytest.raises(LandingTimeout):
        landed(client, batch_id, tmp_path, timeout=0.3)
    assert not names_in(tmp_path)


def test_a_client_of_patience_does_not_multiply_the_readings(emulator: Emulator, tmp_path: Path) -> None:
    with client_of(emulator) as client:
        batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="status", status=503, times=None))
    with BatchesClient(emulator.api_key, base_url=emulator.url) as patient, pytest.raises(ApiError, match="503"):
        landed(patient, batch_id, tmp_path)
    assert plan.struck == QUICK.attempts


def test_a_404_of_a_replica_that_lags_behind_passes(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    for endpoint in ("get", "results"):
        emulator.fault(Fault(endpoint=endpoint, action="status", status=404, times=2))
    assert landed(client, batch_id, tmp_path).readings == 3
    assert_whole(client, batch_id, tmp_path)


def test_a_404_that_stays_is_told(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    client.delete(batch_id)
    asked = emulator.counters["get"]
    with pytest.raises(ApiError, match=f"404 not_found_error: Message Batch {batch_id} not found"):
        landed(client, batch_id, tmp_path)
    assert emulator.counters["get"] - asked == QUICK.attempts
    assert not names_in(tmp_path)


def test_a_client_with_a_short_read_timeout_reads_again_too(emulator: Emulator, tmp_path: Path) -> None:
    with client_of(emulator, timeout=0.3) as client:
        batch_id = ended_batch(client, COUNT)
        emulator.fault(Fault(endpoint="results", action="stall", after_bytes=3_000, seconds=60))
        landed(client, batch_id, tmp_path)
        assert_whole(client, batch_id, tmp_path)


def test_an_answer_that_holds_all_and_does_not_end_lands_when_the_time_is_over(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    size = sum(len(line) + 1 for line in lines_of_the_api(client, batch_id))
    emulator.fault(Fault(endpoint="results", action="stall", times=None, after_bytes=size, seconds=60))
    assert landed(client, batch_id, tmp_path, timeout=0.5).verified
    emulator.faults.clear()
    assert_whole(client, batch_id, tmp_path)


def test_the_overall_timeout_ends_a_stall_and_publishes_nothing(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="stall", times=None, after_bytes=3_000, seconds=60))
    with pytest.raises(LandingTimeout, match=r"[1-9]\d* of 20 results .* came in time"):
        landed(client, batch_id, tmp_path, timeout=0.5)
    assert not names_in(tmp_path)


def test_the_overall_timeout_holds_for_a_body_that_trickles(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="slow", times=None, bytes_per_second=1_000))
    with pytest.raises(LandingTimeout):
        landed(client, batch_id, tmp_path, timeout=0.5)
    assert not names_in(tmp_path)


def test_readings_that_bring_nothing_new_are_bounded(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="cut", times=None, after_bytes=3_000))
    with pytest.raises(StreamInterrupted, match="3 readings in a row brought nothing new"):
        landed(client, batch_id, tmp_path)
    assert plan.struck == 4  # one reading with new lines, three without
    assert not names_in(tmp_path)


def test_where_no_line_ever_comes_the_last_failure_is_told(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="reset", times=None))
    with pytest.raises(TransportError, match="the connection failed"):
        landed(client, batch_id, tmp_path)
    emulator.faults.clear()
    emulator.fault(Fault(endpoint="results", action="status", status=503, times=None))
    with pytest.raises(ApiError, match="503"):
        landed(client, batch_id, tmp_path)
    assert not names_in(tmp_path)


def test_a_permanent_refusal_is_not_repeated(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="status", status=403, times=None))
    with pytest.raises(ApiError, match="403"):
        landed(client, batch_id, tmp_path)
    assert plan.struck == 1


@pytest.mark.parametrize("line", [0, COUNT - 1])
def test_a_doubled_line_is_named_and_nothing_is_published(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, line: int
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="duplicate_line", line=line))
    with pytest.raises(LandingMismatch, match=rf"1 doubled \(r-{line}\)") as caught:
        landed(client, batch_id, tmp_path)
    assert caught.value.mismatch.doubled_ids == (f"r-{line}",)
    assert not names_in(tmp_path)


def test_a_line_doubled_in_a_later_reading_is_found_too(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=3_000))
    emulator.fault(Fault(endpoint="results", action="duplicate_line", line=0, skip=1))
    with pytest.raises(LandingMismatch, match=r"1 doubled \(r-0\)"):
        landed(client, batch_id, tmp_path)


def test_a_line_that_never_comes_is_a_mismatch(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="missing_line", line=5, times=None))
    emulator.configure(order="submitted")
    with pytest.raises(LandingMismatch, match=r"batch: 1 missing\. Nothing is published; verify='warn' publishes what"):
        landed(client, batch_id, tmp_path)
    assert plan.struck == 4  # one reading with new lines, three without
    receipt = {"batch_id": batch_id, "ids_digest": ids_digest(IDS), "ids_sum": f"{sum(map(number_of, IDS)):x}"}
    with pytest.raises(LandingMismatch, match=r"1 missing \(r-5\)"):
        landed(client, batch_id, tmp_path, receipt=receipt)
    assert not names_in(tmp_path)


def test_all_who_are_missing_or_foreign_are_named_by_those_who_know_what_was_sent(
    client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    sent = ["first", *IDS[2:], "last"]
    with pytest.raises(
        LandingMismatch, match=r"batch: 2 missing \(first, last\); 2 foreign \(r-0, r-1\)\. Nothing is published"
    ):
        landed(client, batch_id, tmp_path, receipt=ids_digest(sent), sent_ids=lambda: iter(sent))
    assert not names_in(tmp_path)


def test_a_part_of_the_results_says_in_its_manifest_who_is_missing(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=3_000, times=None))
    manifest = landed(client, batch_id, tmp_path, verify="warn", sent_ids=lambda: IDS)
    assert manifest.mismatch is not None
    assert manifest.mismatch.missing_ids == tuple(IDS[manifest.lines :])


def test_a_source_that_takes_its_time_costs_nobody_what_came(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent_ids() -> list[str]:
        sleep(2.0)
        return IDS

    monkeypatch.setattr("airflow_batches.landing.engine.GRACE", 1.0)
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="stall", seconds=60, after_bytes=3_000, times=None))
    manifest = landed(client, batch_id, tmp_path, verify="warn", timeout=0.5, sent_ids=sent_ids)
    assert manifest.mismatch is not None
    assert manifest.mismatch.missing_ids == tuple(IDS[manifest.lines :])


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([*IDS[1:], "another"], "The ids that can be read now are not those that were sent"),
        (count(), "Cannot read which ids were sent: AttributeError: 'int' object has no attribute 'encode'"),
        (None, "Cannot read which ids were sent: FileNotFoundError: gone"),
    ],
)
def test_a_source_that_is_not_what_it_was_names_nobody(
    emulator: Emulator,
    client: BatchesClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    sent: Iterable[str] | None,
    said: str,
) -> None:
    def sent_ids() -> Iterable[str]:
        if sent is None:
            raise FileNotFoundError("gone")
        return sent

    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="missing_line", line=5, times=None))
    with pytest.raises(LandingMismatch, match=r"batch: 1 missing\. "):
        landed(client, batch_id, tmp_path, receipt=ids_digest(IDS), sent_ids=sent_ids)
    assert said in caplog.messages


def test_nobody_asks_who_was_sent_where_the_ids_are_right(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    def sent_ids() -> list[str]:
        raise AssertionError("asked")

    batch_id = ended_batch(client, COUNT)
    landed(client, batch_id, tmp_path, receipt=ids_digest(IDS), sent_ids=sent_ids)
    emulator.fault(Fault(endpoint="results", action="duplicate_line", line=0))
    with pytest.raises(LandingMismatch, match="1 doubled"):
        landed(client, batch_id, tmp_path, overwrite=True, sent_ids=sent_ids)


def test_a_broken_line_that_stays_broken_is_told(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="broken_line", line=5, times=None))
    with pytest.raises(LandingMismatch, match="1 missing; 1 unreadable"):
        landed(client, batch_id, tmp_path)


def test_a_foreign_line_is_counted_and_named_by_the_receipt(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="foreign_line", line=3, times=None))
    with pytest.raises(LandingMismatch, match="batch: 1 foreign"):
        landed(client, batch_id, tmp_path)
    with pytest.raises(LandingMismatch, match=r"1 foreign \(foreign-line\)"):
        landed(client, batch_id, tmp_path, receipt=ids_digest(IDS))
    assert not names_in(tmp_path)


def test_ids_that_are_not_those_of_the_receipt_are_a_mismatch_though_the_counts_are_right(
    client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    receipt = {"batch_id": batch_id, "ids_digest": ids_digest([*IDS[1:], "another"])}
    with pytest.raises(LandingMismatch, match="the custom_ids are not those that were sent"):
        landed(client, batch_id, tmp_path, receipt=receipt)
    assert not names_in(tmp_path)


def test_a_result_type_from_the_future_lands_as_it_came(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="unknown_type_line", line=3))
    manifest = landed(client, batch_id, tmp_path)
    assert manifest.verified
    assert manifest.counts["succeeded"] == COUNT - 1
    assert sum(manifest.counts.values()) == COUNT
    assert ids_in(tmp_path / "out.jsonl") == sorted(IDS)


def test_with_verify_warn_what_came_is_published_and_the_manifest_says_so(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="missing_line", line=5, times=None))
    manifest = landed(client, batch_id, tmp_path, verify="warn")
    assert (manifest.verified, manifest.lines) == (False, COUNT - 1)
    assert manifest.mismatch is not None
    assert manifest.mismatch.missing == 1
    assert manifest.to_dict() == json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())
    assert ids_in(tmp_path / "out.jsonl") == sorted(set(IDS) - {"r-5"})


def test_with_verify_warn_a_stream_that_never_gets_further_lands_as_far_as_it_came(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", times=None, after_bytes=3_000))
    manifest = landed(client, batch_id, tmp_path, verify="warn")
    assert manifest.mismatch is not None
    assert 0 < manifest.lines == COUNT - manifest.mismatch.missing < COUNT


def test_with_verify_warn_what_came_before_a_permanent_refusal_lands(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=10_000))
    emulator.fault(Fault(endpoint="results", action="status", status=403, skip=1, times=None))
    manifest = landed(client, batch_id, tmp_path, verify="warn")
    assert manifest.mismatch is not None
    assert 0 < manifest.lines == COUNT - manifest.mismatch.missing < COUNT


def test_with_verify_warn_landing_again_does_nothing_so_that_less_never_takes_the_place_of_more(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="missing_line", line=5, times=None))
    first = landed(client, batch_id, tmp_path, verify="warn")
    plan.delete()
    emulator.fault(Fault(endpoint="results", action="cut", times=None, after_bytes=3_000))
    assert landed(client, batch_id, tmp_path, verify="warn") == first
    assert len(landed_lines(tmp_path / "out.jsonl")) == COUNT - 1


def test_what_landed_with_a_mismatch_is_landed_again_when_the_api_is_well(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="missing_line", line=5, times=None))
    emulator.configure(order="submitted")
    landed(client, batch_id, tmp_path, verify="warn")
    plan.delete()
    assert landed(client, batch_id, tmp_path).verified
    assert_whole(client, batch_id, tmp_path)
