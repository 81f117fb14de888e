"""A batch that has ended with counts of 0: only the submitted ids can prove its results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.api import BatchesClient, RetryPolicy
from airflow_batches.api.digest import ids_digest
from airflow_batches.landing import LandingMismatch, LandingTimeout, Manifest, Progress, land
from tests.unit.landing.support import QUICK, names_in
from tests.unit.landing.test_properties import serving

ZERO = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
LINES = [json.dumps({"custom_id": f"r-{at}", "result": {"type": "succeeded"}}).encode() + b"\n" for at in range(3)]
SUBMITTED = ids_digest(["r-0", "r-1", "r-2"])


@contextmanager
def uncounted(lines: list[bytes], *, ends: bool = True) -> Iterator[BatchesClient]:
    with serving(ZERO, [([b"".join(lines)] if lines else [], ends)]) as url, BatchesClient("k", base_url=url) as client:
        yield client


def landed(client: BatchesClient, folder: Path, **options: Any) -> Manifest:
    return land(client, "msgbatch_01", f"file://{folder}/out.jsonl", **{"retry": QUICK, **options})


@pytest.mark.parametrize("lines", [[], LINES], ids=["no line", "some lines"])
def test_results_without_any_proof_are_a_mismatch(tmp_path: Path, lines: list[bytes]) -> None:
    with uncounted(lines) as client, pytest.raises(LandingMismatch, match="the API counts 0 requests in it"):
        landed(client, tmp_path)
    assert names_in(tmp_path) == set()


def test_results_that_are_not_read_in_time_are_a_timeout(tmp_path: Path) -> None:
    retry = RetryPolicy(attempts=10_000, base=0.01, cap=0.01)
    with uncounted([], ends=False) as client, pytest.raises(LandingTimeout, match="0 of an unknown number of results"):
        landed(client, tmp_path, timeout=0.5, retry=retry)
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize(
    "receipt", [SUBMITTED, {"ids_digest": SUBMITTED, "requests": 3}], ids=["a digest", "a receipt"]
)
def test_a_receipt_proves_them(tmp_path: Path, receipt: Any) -> None:
    with uncounted(LINES) as client:
        manifest = landed(client, tmp_path, receipt=receipt)
    assert (manifest.lines, manifest.verified, manifest.ids_digest) == (3, True, SUBMITTED)


@pytest.mark.parametrize(
    ("receipt", "words"),
    [
        (SUBMITTED, "not those that were sent"),
        ({"ids_digest": SUBMITTED, "requests": 3}, r"1 missing \(r-2\)|1 missing"),
    ],
    ids=["a digest", "a receipt"],
)
def test_a_receipt_shows_that_some_are_missing(tmp_path: Path, receipt: Any, words: str) -> None:
    with uncounted(LINES[:2]) as client, pytest.raises(LandingMismatch, match=words):
        landed(client, tmp_path, receipt=receipt)


def test_the_submitted_ids_prove_them(tmp_path: Path) -> None:
    with uncounted(LINES) as client:
        assert landed(client, tmp_path, submitted_ids=lambda: ["r-2", "r-0", "r-1"]).verified


def test_the_submitted_ids_name_what_is_missing(tmp_path: Path) -> None:
    with uncounted(LINES[:2]) as client, pytest.raises(LandingMismatch, match=r"1 missing \(r-2\)"):
        landed(client, tmp_path, submitted_ids=lambda: ["r-2", "r-0", "r-1"])


def test_with_verify_warn_they_land_unverified(tmp_path: Path) -> None:
    with uncounted(LINES) as client:
        manifest = landed(client, tmp_path, verify="warn")
    assert (manifest.lines, manifest.verified) == (3, False)
    assert manifest.mismatch is not None
    assert manifest.mismatch.uncounted


def test_progress_names_no_total() -> None:
    assert str(Progress(lines=2, expected=None, size=0, seconds=0.0)) == "2 lines, 0.0 MB at 0.0 MB/s"
