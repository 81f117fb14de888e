"""The ledger in object storage: one writer, no write lost, nothing started over."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import msgspec
import pytest

from airflow_batches.jobs.errors import JobOvertaken, LedgerError
from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.store import LedgerFile, SavedLedger, parse_ledger, save_surely
from airflow_batches.landing.errors import LandingError
from airflow_batches.landing.location import Location
from tests.unit.jobs.samples import batch, landed, ledger, pending

STORES: Final = ["file", "memory"]


@pytest.fixture(params=STORES)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "memory":
        return Location.parse(f"memory://jobs/{uuid.uuid4().hex}/_job/ledger.json")
    return Location.parse(f"file://{tmp_path}/_job/ledger.json")


def test_a_ledger_is_read_as_it_was_saved(location: Location) -> None:
    full = ledger(batches=(batch(0, landed=landed()),), pending=pending(1))
    assert LedgerFile(location).load() is None
    saved = LedgerFile(location).save(full, None)
    assert saved.ledger == full
    assert LedgerFile(location).load() == saved


def test_of_two_runners_that_read_the_same_ledger_one_writes(location: Location) -> None:
    first = LedgerFile(location).save(ledger(), None)
    second = LedgerFile(location).save(first.ledger.but(generation=1), first)
    with pytest.raises(JobOvertaken):
        LedgerFile(location).save(first.ledger.but(generation=1, rounds=2), first)
    assert LedgerFile(location).load() == second


def test_of_two_runners_that_begin_a_job_one_writes(location: Location) -> None:
    LedgerFile(location).save(ledger(), None)
    with pytest.raises(JobOvertaken):
        LedgerFile(location).save(ledger(generation=1), None)


def test_a_removed_ledger_is_not_written_again(location: Location) -> None:
    saved = LedgerFile(location).save(ledger(), None)
    location.fs.rm_file(location.path)
    with pytest.raises(JobOvertaken, match="removed"):
        LedgerFile(location).save(saved.ledger.but(generation=1), saved)


DAMAGED: Final = {
    "empty": b"",
    "cut": ledger().to_json()[:-40],
    "other": b'{"a": 1}',
    "member": ledger().to_json().replace(b'"rounds": 1', b'"rounds": "one"'),
    "not text": b"\xff\xfe{",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_ledger_says_what_is_safe_and_never_starts_over(location: Location, name: str) -> None:
    location.fs.makedirs(location.parent, exist_ok=True)
    with location.fs.open(location.path, "wb") as file:
        file.write(DAMAGED[name])
    with pytest.raises(LedgerError, match="nothing starts over"):
        LedgerFile(location).load()
    with pytest.raises(LedgerError):
        LedgerFile(location).save(ledger(), None)
    assert location.read() == DAMAGED[name]


def test_a_newer_version_is_refused_even_if_its_members_differ() -> None:
    with pytest.raises(LedgerError, match="version 9"):
        parse_ledger(b'{"schema_version": 9, "state": []}', "file:///x")


def test_unknown_members_of_the_same_version_are_ignored() -> None:
    plain = msgspec.json.decode(ledger().to_json()) | {"later": 1}
    assert parse_ledger(msgspec.json.encode(plain), "x") == ledger()


class Unclear:
    """A store whose save fails, before or after it took effect."""

    def __init__(self, *, effect: bool) -> None:
        self._effect = effect
        self.saved: SavedLedger | None = None

    def load(self) -> SavedLedger | None:
        return self.saved

    def save(self, ledger: JobLedger, replaces: SavedLedger | None) -> SavedLedger:
        if self._effect:
            self.saved = SavedLedger(ledger)
        raise LandingError("no answer")


def test_a_save_that_took_effect_and_failed_counts_as_saved() -> None:
    assert save_surely(Unclear(effect=True), ledger(), None).ledger == ledger()


def test_a_save_that_took_no_effect_raises_the_stores_error() -> None:
    with pytest.raises(LandingError, match="no answer"):
        save_surely(Unclear(effect=False), ledger(), None)


def test_a_save_that_failed_over_another_runners_ledger_is_overtaken() -> None:
    store = Unclear(effect=False)
    store.saved = SavedLedger(ledger(generation=7))
    with pytest.raises(JobOvertaken):
        save_surely(store, ledger(), None)
