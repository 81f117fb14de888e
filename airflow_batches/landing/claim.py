"""Whether a batch may land at a place, or has landed there.

| at the place                                  | without `overwrite`                    |
|-----------------------------------------------|----------------------------------------|
| nothing                                       | land                                   |
| this batch's results, as asked for, and whole | nothing to do, the manifest is true    |
| this batch's results, otherwise               | land                                   |
| another batch's results                       | refuse                                 |
| an object that no manifest speaks of          | refuse                                 |
| objects that this batch's pending note names  | land                                   |

It is asked before the results are fetched and again before they are published, for another landing may have been
faster: then only verified results stay, and a part never takes the place of all, in whatever form. With `overwrite` it
lands in any case. As asked for: in that format, with that object for failures, of the ids that the receipt proves, and
verified, unless `verify="warn"` asks for no more than what had come: another try might bring less. Whole: each object
has the size that the manifest says.

A pending note is written just before the results are published and removed once the manifest stands: a process
killed in between leaves an object that nothing else would tell from a stranger's.

Where publishing fails, what appeared goes again, but for what stood there for this batch before; the earlier manifest
returns if all stands that it names. Nothing of that is done where a manifest stands by then: it is another landing's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import msgspec

from airflow_batches.api.errors import BatchesError
from airflow_batches.landing.errors import LandingRefused
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import PENDING_SUFFIX, SUFFIX, Manifest
from airflow_batches.landing.writer import put

logger = logging.getLogger(__name__)

HOW_TO_FORCE = "land elsewhere, or overwrite it on purpose (overwrite=True)"


class _Pending(msgspec.Struct):
    batch_id: str
    failed: str | None = None


class Claim:
    """One batch's claim to a place for its results."""

    def __init__(self, results: Location, failed: Location | None, batch_id: str) -> None:
        self._results = results
        self._failed = failed
        self._batch_id = batch_id
        self._manifest = results.beside(SUFFIX)
        self._pending = results.beside(PENDING_SUFFIX)
        self._said_before: bytes | None = None
        own = {"results' own": results, "manifest's": self._manifest, "pending note's": self._pending}
        for whose, place in own.items():
            if failed is not None and failed.same_as(place):
                raise LandingRefused(f"failed_path is the {whose} path: {place.uri}")

    def landed(self, as_asked: Callable[[Manifest], bool]) -> Manifest | None:
        """The manifest where everything has landed already; None where the batch may land. Raises `LandingRefused`.

        `as_asked`: whether it is what this landing would make, apart from where.
        """
        places = [self._results, self._failed] if self._failed else [self._results]
        sizes = {place.uri: place.size() for place in places}
        present = [place for place in places if sizes[place.uri] is not None]
        if not present:
            return None
        found = self._found()
        pending = self._pending_note()
        announced = {self._results.uri, pending.failed} if pending else set()
        self._refuse_strangers([place for place in present if place.uri not in announced], found)
        if found is None or not self._whole(found, sizes) or not as_asked(found):
            return None
        if pending:
            self._pending.remove()
        return found

    @property
    def announcing(self) -> tuple[Callable[[], None], ...]:
        """The steps that say whose the results are that are about to appear, and take back what was said of others."""
        return self._note, self._read_manifest, self._remove_manifest

    def _note(self) -> None:
        put(self._pending, msgspec.json.encode(_Pending(self._batch_id, self._failed.uri if self._failed else None)))

    def _read_manifest(self) -> None:
        self._said_before = self._manifest.read()

    def _remove_manifest(self) -> None:
        if self._said_before is not None:
            self._manifest.remove()

    def amends(self, published: Collection[Location]) -> Sequence[Callable[[], None]]:
        """The steps that take back what was published, once the rest could not be; the note stays."""
        if self._manifest.read() is not None:
            return ()
        before = _manifest_in(self._said_before)
        named = before.uris if before else {self._results.uri}
        own = named if before and before.batch_id == self._batch_id else frozenset()
        steps: list[Callable[[], None]] = [place.remove for place in published if place.uri not in own]
        if self._said_before is not None and named.isdisjoint(place.uri for place in published):
            steps.append(partial(put, self._manifest, self._said_before))
        return steps

    def holds_all(self) -> bool:
        """Whether this batch's results are there, verified and of the right size, in whatever form."""
        found = self._found()
        if found is None or not found.verified or found.batch_id != self._batch_id:
            return False
        return found.uri == self._results.uri and self._results.size() == found.results.bytes

    def settle(self, manifest: Manifest) -> None:
        """Writes the manifest, the last of all."""
        put(self._manifest, manifest.to_json())
        try:
            self._pending.remove()
        except BatchesError as error:  # all has landed; a store may let nobody delete
            logger.warning("Leaving %s behind: %s", self._pending.uri, error)

    def _found(self) -> Manifest | None:
        data = self._manifest.read()
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=Manifest)
        except msgspec.MsgspecError as exc:
            raise LandingRefused(f"{self._manifest.uri} is not a manifest of ours ({exc}); {HOW_TO_FORCE}") from exc

    def _refuse_strangers(self, present: list[Location], found: Manifest | None) -> None:
        if present and found is not None and found.batch_id != self._batch_id:
            raise LandingRefused(f"{present[0].uri} holds the results of {found.batch_id}; {HOW_TO_FORCE}")
        ours = found.uris if found else frozenset()
        for location in present:
            if location.uri not in ours:
                raise LandingRefused(f"{location.uri} exists, and no manifest says whose it is; {HOW_TO_FORCE}")

    def _pending_note(self) -> _Pending | None:
        """This batch's, if there is one."""
        data = self._pending.read()
        try:
            note = msgspec.json.decode(data, type=_Pending) if data is not None else None
        except msgspec.MsgspecError:
            return None
        return note if note and note.batch_id == self._batch_id else None

    def _whole(self, found: Manifest, sizes: Mapping[str, int | None]) -> bool:
        """Whether what is there is this batch's, and of the sizes that the manifest says."""
        said = {landed.uri: landed.bytes for landed in (found.results, found.failed) if landed}
        whole = all(size is not None and size == said.get(uri) for uri, size in sizes.items())
        return whole and found.batch_id == self._batch_id


def _manifest_in(data: bytes | None) -> Manifest | None:
    try:
        return None if data is None else msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError:
        return None
