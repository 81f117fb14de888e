"""Whether a batch may land at a place, or has landed there.

| at the place                                  | without `overwrite`                    |
|-----------------------------------------------|----------------------------------------|
| nothing                                       | land                                   |
| this batch's results, verified, as asked for  | nothing to do, the manifest is true    |
| this batch's results, otherwise               | land                                   |
| another batch's results                       | refuse                                 |
| an object that no manifest speaks of          | refuse                                 |
| any object, and a pending note of this batch  | land                                   |

With `overwrite` it lands in any case.

A pending note is written just before the results are published and removed once the manifest stands: a process
killed in between leaves an object that nothing else would tell from a stranger's.
"""

from __future__ import annotations

import msgspec

from airflow_batches.landing.errors import LandingRefused
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import PENDING_SUFFIX, SUFFIX, Manifest
from airflow_batches.landing.writer import put

HOW_TO_FORCE = "land elsewhere, or overwrite it on purpose (overwrite=True)"


class _Pending(msgspec.Struct):
    batch_id: str


class Claim:
    """One batch's claim to a place for its results."""

    def __init__(self, results: Location, failed: Location | None, batch_id: str) -> None:
        self._results = results
        self._failed = failed
        self._batch_id = batch_id
        self._manifest = results.beside(SUFFIX)
        self._pending = results.beside(PENDING_SUFFIX)

    def landed(self, format_name: str) -> Manifest | None:
        """The manifest where everything has landed already; None where the batch may land. Raises `LandingRefused`."""
        size = self._results.size()
        present = [self._results] if size is not None else []
        if self._failed is not None and self._failed.size() is not None:
            present.append(self._failed)
        if not present:
            return None
        found = self._found()
        if not self._is_pending():
            self._refuse_strangers(present, found)
        return found if found and size is not None and self._as_asked(found, size, format_name) else None

    def announce(self) -> None:
        """Says whose the results are that are about to appear, and takes back what was said of earlier ones."""
        put(self._pending, msgspec.json.encode(_Pending(self._batch_id)))
        self._manifest.remove()

    def settle(self, manifest: Manifest) -> None:
        """Writes the manifest, the last of all."""
        put(self._manifest, manifest.to_json())
        self._pending.remove()

    def _found(self) -> Manifest | None:
        data = self._manifest.read()
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=Manifest)
        except msgspec.MsgspecError as exc:
            raise LandingRefused(f"{self._manifest.uri} is not a manifest of ours ({exc}); {HOW_TO_FORCE}") from exc

    def _refuse_strangers(self, present: list[Location], found: Manifest | None) -> None:
        if found is not None and found.batch_id != self._batch_id:
            raise LandingRefused(f"{present[0].uri} holds the results of {found.batch_id}; {HOW_TO_FORCE}")
        ours = {landed.uri for landed in (found.results, found.failed) if landed} if found else set()
        for location in present:
            if location.uri not in ours:
                raise LandingRefused(f"{location.uri} exists, and no manifest says whose it is; {HOW_TO_FORCE}")

    def _is_pending(self) -> bool:
        data = self._pending.read()
        try:
            return data is not None and msgspec.json.decode(data, type=_Pending).batch_id == self._batch_id
        except msgspec.MsgspecError:
            return False

    def _as_asked(self, found: Manifest, size: int, format_name: str) -> bool:
        failed_uri = self._failed.uri if self._failed else None
        same_failed = failed_uri is None or (found.failed is not None and found.failed.uri == failed_uri)
        intact = found.results.bytes == size and found.results.format == format_name
        return found.batch_id == self._batch_id and found.verified and same_failed and intact
