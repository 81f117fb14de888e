"""Publish a landing: from stored but invisible objects to a manifest that names them.

    snapshot ── claim ── failed lines ── results ── complete ── confirm
                 │           │             │           │
                 └───────────┴─────────────┴───────────┴── each only over the version that was seen before `claim`

Rules:
- `claim` writes the manifest with the state `publishing`. It names the batch whose objects are about to appear; the
  present objects may be replaced at any moment from then on. `complete` replaces this manifest and no other.
- Of landings that overlap, one publishes. A landing that looked before another's `claim` finds later that the manifest
  or an object has a new version: it stops (`LandingOvertaken`) and writes nothing. A landing that looked after it sees
  `publishing` and lands too; then the first one stops.
- A process that dies in between leaves a manifest that says `publishing`, and the next landing of the batch lands.
- If a step fails, the failures' object is removed if there was none before, and the earlier manifest is restored if
  none of its objects was replaced. Otherwise the manifest stays `publishing`.
- `confirm` looks again: a landing reports success only after it has seen its own manifest and objects.

| store                             | when landings overlap                                                          |
|-----------------------------------|--------------------------------------------------------------------------------|
| local files; S3 with conditional  | the rules hold, even if a process is paused or killed                          |
| writes                            |                                                                                |
| S3 without, GCS, Azure, NFS, all  | a process that is paused between a look and the write after it may replace     |
| others                            | another landing's object or manifest. It notices that afterwards and fails.    |
|                                   | The next landing of the batch finds that the object is not the one that the    |
|                                   | manifest names, and lands again. Until then only the sha256 in the manifest    |
|                                   | shows the difference                                                           |
| any, written to by other programs | only the sha256 in the manifest shows the difference                           |
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import msgspec

from airflow_batches.landing.manifest import COMPLETE, PUBLISHING, LandedObject, Manifest
from airflow_batches.landing.output import Output, Outputs
from airflow_batches.landing.place import Place, Snapshot
from airflow_batches.landing.version import ObjectVersion
from airflow_batches.landing.writer import put, remove


class Publication:
    """The objects and the manifest of one landing, before they are visible.

    The caller runs `steps`, and after a failure `rollback_steps`, one by one and stops at a step that hangs.

    :param place: where they go.
    :param before: what is stored there; anything newer is another landing's.
    :param manifest: names the objects.
    :param outputs: the objects, which are finished.
    """

    def __init__(self, place: Place, before: Snapshot, manifest: Manifest, outputs: Outputs) -> None:
        self.manifest = msgspec.structs.replace(manifest, landing_id=secrets.token_hex(8), state=PUBLISHING)
        self._place = place
        self._before = before
        self._results = outputs.results
        self._failed = outputs.failed
        self._claimed: ObjectVersion | None = None
        self._removed_failed = False

    @property
    def steps(self) -> Sequence[Callable[[], None]]:
        """All steps in order; after the last one the manifest is complete."""
        return [
            self._claim,
            self._publish_failed,
            self._publish_results,
            self._require_objects,
            self._complete,
            self._confirm,
        ]

    @property
    def rollback_steps(self) -> Sequence[Callable[[], None]]:
        """The steps that undo a publication after a failed step."""
        return [self._remove_failed, self._restore_manifest]

    def _claim(self) -> None:
        self._claimed = put(self._place.manifest, self.manifest.to_json(), self._before.manifest_version)

    def _publish_failed(self) -> None:
        if self._failed:
            self._failed.commit(self._before.failed)

    def _publish_results(self) -> None:
        self._results.commit(self._before.results)

    def _complete(self) -> None:
        results, failed = self.manifest.results, self.manifest.failed
        self.manifest = msgspec.structs.replace(
            self.manifest,
            state=COMPLETE,
            results=_with_etag(results, self._results),
            failed=_with_etag(failed, self._failed) if failed and self._failed else None,
        )
        put(self._place.manifest, self.manifest.to_json(), self._claimed)

    def _confirm(self) -> None:
        if self._place.manifest.read() != self.manifest.to_json():
            raise self._place.manifest.overtaken()
        self._require_objects()

    def _require_objects(self) -> None:
        for output, version in self._published:
            output.location.require(version)

    def _remove_failed(self) -> None:
        if self._failed and self._failed.published and self._before.failed is None and not self._results.published:
            remove(self._failed.location, self._failed.published)
            self._removed_failed = True

    def _restore_manifest(self) -> None:
        data = self._before.manifest_data
        replaced = {output.location.uri for output, _ in self._published}
        if self._claimed is not None and data is not None and replaced.isdisjoint(self._named_before()):
            put(self._place.manifest, data, self._claimed)

    def _named_before(self) -> frozenset[str]:
        """The URIs that the earlier manifest names; the results' own if it cannot be read."""
        try:
            before = self._before.manifest()
        except msgspec.MsgspecError:
            before = None
        return before.uris if before else frozenset({self._place.results.uri})

    @property
    def _published(self) -> list[tuple[Output, ObjectVersion]]:
        """The objects that this landing has published and not removed again."""
        outputs = (None if self._removed_failed else self._failed, self._results)
        return [(output, output.published) for output in outputs if output and output.published]


def _with_etag(landed: LandedObject, output: Output) -> LandedObject:
    version = None if output.location.is_local else output.published
    return msgspec.structs.replace(landed, etag=version.tag if version else None)
