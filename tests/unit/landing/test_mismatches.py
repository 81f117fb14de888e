"""Results that differ from the batch: the error names the difference, and `verify="warn"` publishes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.api.digest import ids_digest
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import LandingMismatch
from tests.unit.landing.support import COUNT, IDS, assert_whole, ended_batch, ids_in, landed, landed_lines, names_in


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


def test_a_line_doubled_in_a_later_attempt_is_found(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=3_000))
    emulator.fault(Fault(endpoint="results", action="duplicate_line", line=0, skip=1))
    with pytest.raises(LandingMismatch, match=r"1 doubled \(r-0\)"):
        landed(client, batch_id, tmp_path)


def test_a_line_missing_in_every_attempt_is_a_mismatch(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="missing_line", line=5, times=None))
    emulator.configure(order="submitted")
    with pytest.raises(
        LandingMismatch, match=r"batch: 1 missing\. Nothing is published; verify='warn' publishes what was read"
    ):
        landed(client, batch_id, tmp_path)
    assert plan.struck == 4  # one attempt with new lines, three without
    receipt = {"batch_id": batch_id, "ids_digest": ids_digest(IDS)}
    with pytest.raises(LandingMismatch, match=r"batch: 1 missing\. "):
        landed(client, batch_id, tmp_path, receipt=receipt)
    with pytest.raises(LandingMismatch, match=r"1 missing \(r-5\)"):
        landed(client, batch_id, tmp_path, receipt=receipt, submitted_ids=lambda: IDS)
    assert not names_in(tmp_path)


def test_the_submitted_ids_name_all_missing_and_foreign_ids(client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    sent = ["first", *IDS[2:], "last"]
    with pytest.raises(
        LandingMismatch, match=r"batch: 2 missing \(first, last\); 2 foreign \(r-0, r-1\)\. Nothing is published"
    ):
        landed(client, batch_id, tmp_path, receipt=ids_digest(sent), submitted_ids=lambda: iter(sent))
    assert not names_in(tmp_path)


def test_the_manifest_of_incomplete_results_names_the_missing_ids(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=3_000, times=None))
    manifest = landed(client, batch_id, tmp_path, verify="warn", submitted_ids=lambda: IDS)
    assert manifest.mismatch is not None
    assert manifest.mismatch.missing_ids == tuple(IDS[manifest.lines :])


def test_a_slow_source_of_ids_does_not_lose_the_results_that_were_read(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    def submitted_ids() -> list[str]:
        sleep(1.2)  # longer than both timeouts
        return IDS

    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="stall", seconds=60, after_bytes=3_000, times=None))
    options: Any = {"timeout": 0.5, "store_timeout": 0.5, "submitted_ids": submitted_ids}
    manifest = landed(client, batch_id, tmp_path, verify="warn", **options)
    assert manifest.mismatch is not None
    assert manifest.mismatch.missing_ids == tuple(IDS[manifest.lines :])


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([*IDS[1:], "another"], "The ids that can be read now are not those that were submitted"),
        (count(), "Cannot read the submitted ids: AttributeError: 'int' object has no attribute 'encode'"),
        (None, "Cannot read the submitted ids: FileNotFoundError: gone"),
    ],
)
def test_a_source_that_has_changed_names_no_id(
    emulator: Emulator,
    client: BatchesClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    sent: Iterable[str] | None,
    said: str,
) -> None:
    def submitted_ids() -> Iterable[str]:
        if sent is None:
            raise FileNotFoundError("gone")
        return sent

    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="missing_line", line=5, times=None))
    with pytest.raises(LandingMismatch, match=r"batch: 1 missing\. "):
        landed(client, batch_id, tmp_path, receipt=ids_digest(IDS), submitted_ids=submitted_ids)
    assert said in caplog.messages


def test_the_submitted_ids_are_not_read_when_the_ids_are_right(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    asked: list[str] = []

    def submitted_ids() -> list[str]:
        asked.append("ids")
        return IDS

    batch_id = ended_batch(client, COUNT)
    landed(client, batch_id, tmp_path, receipt=ids_digest(IDS), submitted_ids=submitted_ids)
    emulator.fault(Fault(endpoint="results", action="duplicate_line", line=0))
    with pytest.raises(LandingMismatch, match="1 doubled"):
        landed(client, batch_id, tmp_path, overwrite=True, submitted_ids=submitted_ids)
    assert not asked


def test_a_line_broken_in_every_attempt_is_reported(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="broken_line", line=5, times=None))
    with pytest.raises(LandingMismatch, match="1 missing; 1 unreadable"):
        landed(client, batch_id, tmp_path)


def test_a_foreign_line_is_counted_and_named_by_the_submitted_ids(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="foreign_line", line=3, times=None))
    with pytest.raises(LandingMismatch, match="batch: 1 foreign;"):
        landed(client, batch_id, tmp_path)
    with pytest.raises(LandingMismatch, match="batch: 1 foreign;"):
        landed(client, batch_id, tmp_path, receipt=ids_digest(IDS))
    with pytest.raises(LandingMismatch, match=r"1 foreign \(foreign-line\)"):
        landed(client, batch_id, tmp_path, receipt=ids_digest(IDS), submitted_ids=lambda: IDS)
    assert not names_in(tmp_path)


def test_other_ids_than_the_receipts_are_a_mismatch_although_the_counts_are_right(
    client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    receipt = {"batch_id": batch_id, "ids_digest": ids_digest([*IDS[1:], "another"])}
    with pytest.raises(LandingMismatch, match="the custom_ids are not those that were sent"):
        landed(client, batch_id, tmp_path, receipt=receipt)
    assert not names_in(tmp_path)


def test_with_verify_warn_incomplete_results_are_published_and_the_manifest_says_so(
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


def test_with_verify_warn_a_stream_that_always_breaks_lands_the_lines_before_the_break(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", times=None, after_bytes=3_000))
    manifest = landed(client, batch_id, tmp_path, verify="warn")
    assert manifest.mismatch is not None
    assert 0 < manifest.lines == COUNT - manifest.mismatch.missing < COUNT


def test_with_verify_warn_the_lines_before_a_permanent_error_land(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=10_000))
    emulator.fault(Fault(endpoint="results", action="status", status=403, skip=1, times=None))
    manifest = landed(client, batch_id, tmp_path, verify="warn")
    assert manifest.mismatch is not None
    assert 0 < manifest.lines == COUNT - manifest.mismatch.missing < COUNT


def test_with_verify_warn_landing_again_does_nothing_so_that_fewer_lines_never_replace_more(
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


def test_a_landing_with_a_mismatch_is_repeated_by_the_next_one(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="missing_line", line=5, times=None))
    emulator.configure(order="submitted")
    landed(client, batch_id, tmp_path, verify="warn")
    plan.delete()
    assert landed(client, batch_id, tmp_path).verified
    assert_whole(client, batch_id, tmp_path)
