"""What is stored at a place for results, and whether a batch may land there.

| at the place                                          | without `overwrite`                     |
|-------------------------------------------------------|-----------------------------------------|
| nothing, or only a manifest                           | land                                    |
| this batch's results, as wanted and intact            | nothing to do, return the manifest      |
| this batch's results otherwise, or being published    | land                                    |
| an older batch's, landed by the same task instance    | land                                    |
| a newer batch's, landed by the same task instance     | refuse: this try is not the current one |
| another batch's results, complete or being published  | refuse                                  |
| an object that no manifest names                      | refuse                                  |

"As wanted" means: in that format, with that object for failures, with the ids that the receipt proves, and verified.
With `verify="warn"` unverified results are enough, because another landing might bring fewer. "Intact" means: each
object is the one that the manifest names, by the store's version of it, or by its sha256 where the store names none.

`store` checks before the results are read, and again before they are published, because another landing may have been
faster. The second time only verified results are kept, and incomplete results never replace complete ones, in whatever
format. With `overwrite` the batch lands in any case.

A cleared task lands another batch at the same path: it has the same run, so it is the same task instance. The API's
`created_at` decides which of two batches is older, because workers' clocks differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from typing import Any, Final

import msgspec

from airflow_batches.landing.errors import LandingRefused
from airflow_batches.landing.local_file import remove_stale_parts
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import COMPLETE, SUFFIX, LandedBy, LandedObject, Manifest
from airflow_batches.landing.verify import SubmittedIds, Verify
from airflow_batches.landing.version import ObjectVersion

HOW_TO_FORCE: Final = "land elsewhere, or overwrite it on purpose (overwrite=True)"


@dataclass(frozen=True, kw_only=True)
class LandingTarget:
    """What a landing shall make at a place."""

    batch_id: str
    format_name: str
    verify: Verify
    submitted: SubmittedIds | None = None
    landed_by: LandedBy | None = None
    created_at: datetime | None = None
    """When the batch was created; None before it has been fetched."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What was stored at a place at one time. A version is None where there was no object."""

    manifest_data: bytes | None
    manifest_version: ObjectVersion | None
    results: ObjectVersion | None
    failed: ObjectVersion | None

    def manifest(self) -> Manifest | None:
        """Decode the manifest; None when there was none.

        :raises msgspec.MsgspecError: it is not a manifest.
        """
        return None if self.manifest_data is None else Manifest.from_json(self.manifest_data)


class Place:
    """Where results, their failures and their manifest go.

    :param path: of the results: a URI, a path or a location.
    :param failed_path: of the failures; None for none.
    :param storage_options: options for the fsspec file systems of the URIs.
    :raises LandingRefused: a path names no object, or the failures would replace the results or the manifest.
    """

    def __init__(
        self,
        path: str | PathLike[str] | Location,
        failed_path: str | PathLike[str] | Location | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.results = Location.parse(path, storage_options)
        self.failed = None if failed_path is None else Location.parse(failed_path, storage_options)
        self.manifest = self.results.beside(SUFFIX)
        for what, location in {"results' own": self.results, "manifest's": self.manifest}.items():
            if self.failed is not None and self.failed.same_as(location):
                raise LandingRefused(f"failed_path is the {what} path: {location.uri}")

    def remove_stale_parts(self) -> None:
        """Remove the hidden files that killed landings left here.

        Those of running landings are locked and stay.
        """
        for location in filter(None, (self.results, self.failed, self.manifest)):
            if location.is_local:
                remove_stale_parts(location)

    def snapshot(self) -> Snapshot:
        """Look at every object, at the manifest first.

        If the manifest still has this version when it is replaced, no other landing replaced the objects that were
        looked at after it. In the other order, another landing could publish everything in between.
        """
        version = self.manifest.version()
        return Snapshot(
            manifest_version=version,
            manifest_data=None if version is None else self.manifest.read(),
            results=self.results.version(),
            failed=self.failed.version() if self.failed else None,
        )

    def landed(self, snapshot: Snapshot, target: LandingTarget) -> Manifest | None:
        """Return the manifest if the batch has landed already, None if it may land.

        :raises LandingRefused: another object is there, which only `overwrite` may replace.
        """
        present = [self.results] if snapshot.results else []
        present += [self.failed] if self.failed and snapshot.failed else []
        if not present:
            return None
        found = self._manifest_of(snapshot)
        _refuse_others(present, found, target)
        if found is None or found.batch_id != target.batch_id or not _is_as_wanted(found, target):
            return None
        return found if self._matches(found, snapshot) else None

    def has_verified(self, snapshot: Snapshot, target: LandingTarget) -> bool:
        """Whether verified results of this batch are there, in any format; incomplete ones must not replace them."""
        found = self._manifest_of(snapshot)
        if found is None or found.batch_id != target.batch_id or not found.verified or found.state != COMPLETE:
            return False
        return found.uri == self.results.uri and _is_object(self.results, snapshot.results, found.results)

    def _manifest_of(self, snapshot: Snapshot) -> Manifest | None:
        try:
            return snapshot.manifest()
        except msgspec.MsgspecError as exc:
            raise LandingRefused(f"{self.manifest.uri} is not a manifest of a landing ({exc}); {HOW_TO_FORCE}") from exc

    def _matches(self, found: Manifest, snapshot: Snapshot) -> bool:
        """Whether each object is the one that the manifest names."""
        named = {landed.uri: landed for landed in found.objects}
        places = [(self.results, snapshot.results), *([(self.failed, snapshot.failed)] if self.failed else [])]
        return all(
            (landed := named.get(location.uri)) is not None and _is_object(location, version, landed)
            for location, version in places
        )


def _is_as_wanted(found: Manifest, target: LandingTarget) -> bool:
    proven = target.submitted is None or target.submitted.digest == found.ids_digest
    good = target.verify == "warn" or (found.verified and proven)
    return found.state == COMPLETE and found.results.format == target.format_name and good


def _is_object(location: Location, version: ObjectVersion | None, landed: LandedObject) -> bool:
    """Whether the stored object is the landed one.

    It is read in full only where the store names no version.
    """
    if version is None or version.size != landed.bytes:
        return False
    if landed.etag is not None and version.tag == landed.etag:
        return True
    return location.sha256() == landed.sha256


def _refuse_others(present: list[Location], found: Manifest | None, target: LandingTarget) -> None:
    if found is not None and found.batch_id != target.batch_id:
        _refuse_batch(present[0], found, target)
    names = found.uris if found else frozenset()
    for location in present:
        if location.uri not in names:
            raise LandingRefused(f"{location.uri} exists, and no manifest names its batch; {HOW_TO_FORCE}")


def _refuse_batch(location: Location, found: Manifest, target: LandingTarget) -> None:
    if target.landed_by is None or found.landed_by != target.landed_by:
        if found.state == COMPLETE:
            raise LandingRefused(f"{location.uri} holds the results of {found.batch_id}; {HOW_TO_FORCE}")
        raise LandingRefused(
            f"a landing of {found.batch_id} is publishing at {location.uri}, or was ended while it did; "
            f"land {found.batch_id} again to complete it, {HOW_TO_FORCE}"
        )
    if target.created_at is not None and not _is_older(found, target.created_at):
        raise LandingRefused(
            f"{location.uri} holds the results of {found.batch_id}, which the same task landed and which is newer "
            f"than {target.batch_id}; {HOW_TO_FORCE}"
        )


def _is_older(found: Manifest, created_at: datetime) -> bool:
    return found.batch_created_at is not None and datetime.fromisoformat(found.batch_created_at) <= created_at
