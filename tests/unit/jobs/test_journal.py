"""The records of creates: what a lost ledger knew is added to the one that replaced it."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.journal import CreateFiles, CreateRecord, change, merged, writes_conditionally
from tests.unit.jobs.samples import batch, ledger, pending


def test_a_create_is_recorded_when_it_begins_and_when_it_ends() -> None:
    sent, answered = ledger(pending=pending(0)), ledger(batches=(batch(0),))
    assert change(ledger(), sent) == CreateRecord(create=pending(0))
    assert change(sent, answered) == CreateRecord(create=pending(0), batch=batch(0))
    assert change(sent, ledger()) == CreateRecord(create=pending(0), refused=True)
    assert change(sent, sent.but(rounds=2)) is None
    assert change(answered, answered.but(rounds=2)) is None
    assert change(None, ledger()) is None


def test_an_answer_is_recorded_under_the_name_of_its_create() -> None:
    begun = CreateRecord(create=pending(0))
    later = msgspec.structs.replace(pending(0).intent, until=pending(0).intent.sent_at)
    shortened = msgspec.structs.replace(pending(0), intent=later)
    assert CreateRecord(create=shortened, batch=batch(0)).name == begun.name
    assert CreateRecord(create=pending(1)).name != begun.name


def test_what_a_ledger_does_not_know_is_added() -> None:
    open_, done = CreateRecord(create=pending(0)), CreateRecord(create=pending(0), batch=batch(0))
    assert merged(ledger(), [open_]) == ledger(pending=pending(0))
    assert merged(ledger(), [done]).batches == (batch(0),)
    assert merged(ledger(pending=pending(0)), [done]) == ledger(batches=(batch(0),))
    assert merged(ledger(pending=pending(1)), [done]).pending == pending(1)
    assert merged(ledger(), [CreateRecord(create=pending(0), refused=True)]) == ledger()


def test_a_ledger_that_knows_every_create_stays_as_it_is() -> None:
    known = ledger(batches=(batch(0),), pending=pending(1))
    records = [CreateRecord(create=pending(0), batch=batch(0)), CreateRecord(create=pending(1))]
    assert merged(known, records) == known


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_records_are_kept_in_the_jobs_folder(tmp_path: object, scheme: str) -> None:
    folder = JobFolder(f"memory://{uuid.uuid4().hex}" if scheme == "memory" else f"file://{tmp_path}")
    assert [*CreateFiles(folder).read()] == []
    CreateFiles(folder).write(CreateRecord(create=pending(0)))
    CreateFiles(folder).write(CreateRecord(create=pending(0), batch=batch(0)))
    CreateFiles(folder).write(CreateRecord(create=pending(1)))
    assert [*CreateFiles(folder).read()] == [
        CreateRecord(create=pending(0), batch=batch(0)), CreateRecord(create=pending(1))
    ]  # fmt: skip
    assert writes_conditionally(folder.ledger) == (scheme == "file")
