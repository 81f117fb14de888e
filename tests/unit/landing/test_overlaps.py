"""Landings that overlap at one place, and failures while publishing."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.api.digest import ids_digest
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import LandingMismatch, LandingRefused, LandingTimeout, Location, Manifest, land
from airflow_batches.landing.local_file import LocalFile
from airflow_batches.landing.version import ObjectVersion
from tests.unit.landing.support import QUICK, client_of, ended_batch, ids_in, names_in


@contextmanager
def meanwhile(landing: Callable[[], None], emulator: Emulator) -> Iterator[None]:
    """The block begins when the landing reads the results, and ends when it has ended."""
    thread = threading.Thread(target=landing)
    thread.start()
    try:
        deadline = monotonic() + 30
        while not emulator.counters["results"] and monotonic() < deadline:
            sleep(0.01)
        yield
    finally:
        thread.join(30)


def test_a_landing_overtaken_by_another_batch_overwrites_nothing(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    slow, fast = ended_batch(client, 30), ended_batch(client, 5, system="x")
    uri = f"file://{tmp_path}/out.jsonl"
    emulator.fault(Fault(endpoint="results", action="stall", batch_id=slow, seconds=1.0, after_bytes=2_000))
    outcome: list[Any] = []

    def landing() -> None:
        try:
            with client_of(emulator) as own:
                outcome.append(land(own, slow, uri, retry=QUICK))
        except LandingRefused as error:
            outcome.append(error)

    with meanwhile(landing, emulator):
        manifest = land(client, fast, uri)
    assert f"holds the results of {fast}" in str(outcome[0])
    assert len(ids_in(tmp_path / "out.jsonl")) == 5
    assert names_in(tmp_path) == {"out.jsonl", "out.jsonl.manifest.json"}
    assert land(client, fast, uri) == manifest


@pytest.mark.parametrize("proof", [None, ids_digest(f"r-{number}" for number in range(50))], ids=["", "with a receipt"])
def test_incomplete_results_never_replace_complete_ones_that_landed_meanwhile(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, proof: str | None
) -> None:
    batch_id = ended_batch(client, 50)
    uri = f"file://{tmp_path}/out.jsonl"
    emulator.fault(Fault(endpoint="results", action="stall", seconds=3.0, after_bytes=20_000))
    outcome: list[Manifest] = []

    def landing() -> None:
        with client_of(emulator) as own:
            outcome.append(land(own, batch_id, uri, retry=QUICK, verify="warn", timeout=1.5, receipt=proof))

    with meanwhile(landing, emulator):
        manifest = land(client, batch_id, uri)
    assert manifest.verified
    assert outcome == [manifest]
    assert len(ids_in(tmp_path / "out.jsonl")) == 50
    assert names_in(tmp_path) == {"out.jsonl", "out.jsonl.manifest.json"}


@pytest.mark.parametrize("other", [{"failed_path": "failed.jsonl"}, {"format": "parquet"}], ids=["failures", "a table"])
def test_incomplete_results_never_replace_complete_ones_in_another_form(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, other: dict[str, str]
) -> None:
    batch_id = ended_batch(client, 50)
    uri = f"file://{tmp_path}/out.jsonl"
    manifest = land(client, batch_id, uri)
    emulator.fault(Fault(endpoint="results", action="stall", seconds=30.0, after_bytes=20_000, times=None))
    options: Any = {name: f"file://{tmp_path}/{value}" if "path" in name else value for name, value in other.items()}
    with pytest.raises(LandingMismatch, match="Nothing is published: what is there is verified"):
        land(client, batch_id, uri, retry=QUICK, verify="warn", timeout=1.0, **options)
    assert land(client, batch_id, uri) == manifest
    assert land(client, batch_id, uri, retry=QUICK, verify="warn", timeout=1.0, overwrite=True).lines < 50


@contextmanager
def publishing_fails_at(
    name: str, monkeypatch: pytest.MonkeyPatch, before: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Publishing the object of this name fails once; `before` is called just before that."""
    commit = LocalFile.commit
    failed: list[str] = []

    def failing(self: LocalFile, replaces: ObjectVersion | None) -> ObjectVersion:
        if self._final.name == name and not failed:
            failed.append(name)
            before()
            raise OSError("the disk is gone")
        return commit(self, replaces)

    with monkeypatch.context() as broken:
        broken.setattr(LocalFile, "commit", failing)
        with pytest.raises(OSError, match="gone"):
            yield


def test_a_manifest_never_names_another_batchs_failures(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.configure(errored_share=0.5)
    old, new = ended_batch(client, 40), ended_batch(client, 40)
    uri, failed = f"file://{tmp_path}/out.jsonl", tmp_path / "failed.jsonl"
    first = land(client, old, uri, failed_path=f"file://{failed}")
    with publishing_fails_at("out.jsonl", monkeypatch):
        land(client, new, uri, failed_path=f"file://{failed}", overwrite=True)
    assert manifest_in(tmp_path)["state"] == "publishing"
    again = land(client, new, uri, failed_path=f"file://{failed}")
    assert again.batch_id == new
    assert again.failed is not None
    assert again.failed != first.failed
    assert again.failed.sha256 == hashlib.sha256(failed.read_bytes()).hexdigest()


def test_a_rollback_keeps_failures_that_another_landing_published_meanwhile(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.configure(errored_share=0.5)
    batch_id = ended_batch(client, 40)
    uris: Any = {"path": f"file://{tmp_path}/out.jsonl", "failed_path": f"file://{tmp_path}/failed.jsonl"}
    with publishing_fails_at("out.jsonl", monkeypatch, lambda: landed_by_another(emulator, batch_id, uris)):
        land(client, batch_id, **uris)
    assert names_in(tmp_path) == {"out.jsonl", "out.jsonl.manifest.json", "failed.jsonl"}
    assert land(client, batch_id, **uris).verified


def test_a_rollback_does_not_replace_the_manifest_of_another_landing(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = ended_batch(client, 5), ended_batch(client, 5)
    uris: Any = {"path": f"file://{tmp_path}/out.jsonl", "overwrite": True}
    land(client, old, **uris)
    with publishing_fails_at("out.jsonl", monkeypatch, lambda: landed_by_another(emulator, new, uris)):
        land(client, new, **uris)
    assert json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())["batch_id"] == new


def manifest_in(folder: Path) -> dict[str, Any]:
    """The manifest of `out.jsonl`."""
    found: dict[str, Any] = json.loads((folder / "out.jsonl.manifest.json").read_bytes())
    return found


def landed_by_another(emulator: Emulator, batch_id: str, options: Any) -> Manifest:
    with client_of(emulator) as own:
        return land(own, batch_id, **options)


@pytest.mark.parametrize("same", [True, False], ids=["the same batch", "another batch"])
def test_after_a_rollback_the_earlier_landing_is_valid(
    client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    old = ended_batch(client, 5)
    new = old if same else ended_batch(client, 7)
    uri = f"file://{tmp_path}/out.jsonl"
    manifest = land(client, old, uri)
    with publishing_fails_at("out.jsonl", monkeypatch):
        land(client, new, uri, failed_path=f"file://{tmp_path}/failed.jsonl", overwrite=not same)
    assert "failed.jsonl" not in names_in(tmp_path)
    assert land(client, old, uri) == manifest


def test_a_rollback_keeps_failures_that_were_there_before(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.configure(errored_share=0.5)
    batch_id = ended_batch(client, 40)
    uris: Any = {"path": f"file://{tmp_path}/out.jsonl", "failed_path": f"file://{tmp_path}/failed.jsonl"}
    land(client, batch_id, **uris)
    with publishing_fails_at("out.jsonl", monkeypatch):
        land(client, batch_id, **uris, receipt=ids_digest(f"r-{number}" for number in range(40)))
    assert "failed.jsonl" in names_in(tmp_path)


def test_an_object_whose_folder_cannot_be_synced_counts_as_published(
    client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = ended_batch(client, 5), ended_batch(client, 5)
    uri = f"file://{tmp_path}/out.jsonl"
    land(client, old, uri)
    commit = LocalFile.commit

    def unsynced(self: LocalFile, replaces: ObjectVersion | None) -> ObjectVersion:
        made = commit(self, replaces)
        if self._final.name == "out.jsonl":
            raise OSError("the folder is gone")
        return made

    with monkeypatch.context() as broken:
        broken.setattr(LocalFile, "commit", unsynced)
        with pytest.raises(OSError, match="gone"):
            land(client, new, uri, overwrite=True)
    assert (manifest_in(tmp_path)["state"], manifest_in(tmp_path)["batch_id"]) == ("publishing", new)
    with pytest.raises(LandingRefused, match=f"a landing of {new} is publishing"):
        land(client, old, uri)
    assert land(client, new, uri).state == "complete"


def test_a_landing_that_failed_while_publishing_may_not_replace_other_objects(
    client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, another = ended_batch(client, 5), ended_batch(client, 7)
    theirs = f"file://{tmp_path}/theirs.jsonl"
    manifest = land(client, another, theirs)
    with publishing_fails_at("out.jsonl", monkeypatch):
        land(client, one, f"file://{tmp_path}/out.jsonl")
    with pytest.raises(LandingRefused, match=r"theirs\.jsonl exists, and no manifest names its batch"):
        land(client, one, f"file://{tmp_path}/out.jsonl", failed_path=theirs)
    assert land(client, another, theirs) == manifest


def test_an_overwrite_that_fails_leaves_the_earlier_landing(
    client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = ended_batch(client, 5), ended_batch(client, 7)
    uri = f"file://{tmp_path}/out.jsonl"
    manifest = land(client, old, uri)
    with publishing_fails_at("out.jsonl", monkeypatch):
        land(client, new, uri, overwrite=True)
    assert names_in(tmp_path) == {"out.jsonl", "out.jsonl.manifest.json"}
    assert land(client, old, uri) == manifest
    assert land(client, new, uri, overwrite=True).batch_id == new


def without_deletion(location: Location) -> Location:
    """The same place on a file system that refuses to delete."""

    class KeepsAll(type(location.fs)):  # type: ignore[misc]
        cachable = False

        def rm_file(self, path: str) -> None:
            raise PermissionError("nothing is deleted here")

    return Location(KeepsAll(), location.path, location.uri)


def test_failures_that_cannot_be_removed_are_logged(
    client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = without_deletion(Location.parse(f"file://{tmp_path}/failed.jsonl"))
    with publishing_fails_at("out.jsonl", monkeypatch):
        land(client, ended_batch(client, 5), f"file://{tmp_path}/out.jsonl", failed_path=failed)
    assert "Cannot take back what was published" in caplog.text
    assert "nothing is deleted here" in caplog.text


def test_landing_and_landing_again_need_no_permission_to_delete(
    client: BatchesClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = without_deletion(Location.parse(f"file://{tmp_path}/out.jsonl"))
    batch_id = ended_batch(client, 5)
    manifest = land(client, batch_id, place)
    assert land(client, batch_id, place, overwrite=True).landing_id != manifest.landing_id
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_with_verify_warn_the_lines_read_before_the_timeout_land(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, 50)
    plan = Fault(endpoint="results", action="stall", seconds=30.0, after_bytes=20_000, times=None)
    emulator.fault(plan)
    uri = f"file://{tmp_path}/out.jsonl"
    with pytest.raises(LandingTimeout):
        land(client, batch_id, uri, timeout=1.0, retry=QUICK)
    manifest = land(client, batch_id, uri, timeout=1.0, retry=QUICK, verify="warn")
    assert 0 < manifest.lines < 50
    assert manifest.mismatch is not None
    assert manifest.mismatch.missing == 50 - manifest.lines
    assert len(ids_in(tmp_path / "out.jsonl")) == manifest.lines
