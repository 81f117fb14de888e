"""What a landing does in the store, each call in the store's thread and within a limit."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

from airflow_batches.api.errors import BatchesError
from airflow_batches.landing.errors import LandingMismatch, LandingOvertaken, StoreTimeout
from airflow_batches.landing.formats import encoder_for, format_of
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import Manifest
from airflow_batches.landing.output import Output, Outputs
from airflow_batches.landing.place import LandingTarget, Place, Snapshot
from airflow_batches.landing.publish import Publication
from airflow_batches.landing.store_thread import StoreThread

logger = logging.getLogger(__name__)


class LandingStore:
    """A place that is used through a thread.

    :param place: where the objects go.
    :param thread: makes all calls.
    :param overwrite: land whatever is at the place.
    """

    def __init__(self, place: Place, thread: StoreThread, *, overwrite: bool) -> None:
        self._place = place
        self._thread = thread
        self._overwrite = overwrite

    def landed(self, target: LandingTarget) -> Manifest | None:
        """Return the manifest of an earlier landing that made what is wanted, else None.

        :raises LandingRefused: another object is there, which only `overwrite` may replace.
        """
        return self._landed(self._thread.call(self._place.snapshot), target)

    @contextmanager
    def outputs(self, format_name: str) -> Iterator[Outputs]:
        """Begin the objects; discard in the end what has not been published."""
        failed = self._place.failed
        with (
            self._output(self._place.results, format_name) as results_output,
            nullcontext() if failed is None else self._output(failed, format_of(failed.path, None)) as failed_output,
        ):
            yield Outputs(results_output, failed_output, self._thread)

    def publish(self, manifest: Manifest, outputs: Outputs, target: LandingTarget) -> Manifest:
        """Publish the objects and the manifest, and return it.

        If another landing published what is wanted meanwhile, its manifest is returned.

        :raises LandingMismatch: the manifest has a mismatch, and verified results of the batch are there.
        :raises LandingOvertaken: another landing published something else meanwhile.
        """
        before = self._thread.call(self._place.snapshot)
        if (found := self._landed(before, target)) is not None:
            return found
        if manifest.mismatch and not self._overwrite and self._thread.call(self._place.has_verified, before, target):
            raise LandingMismatch(target.batch_id, manifest.mismatch, "Nothing is published: what is there is verified")
        try:
            return self._published(Publication(self._place, before, manifest, outputs))
        except LandingOvertaken:
            if (found := self.landed(target)) is None:
                raise
            return found

    def _published(self, publication: Publication) -> Manifest:
        try:
            for step in publication.steps:  # one call each: after a step that hangs, no other begins
                self._thread.call(step)
        except (StoreTimeout, LandingOvertaken):  # a step that hangs may still happen; the manifest says `publishing`
            raise
        except Exception:
            with _warned("Cannot take back what was published"):
                for step in publication.rollback_steps:
                    self._thread.call(step)
            raise
        self._thread.call(self._place.remove_stale_parts)
        made = publication.manifest
        logger.debug("%s landed at %s: %s lines", made.batch_id, made.uri, f"{made.lines:,}")
        return made

    def _landed(self, snapshot: Snapshot, target: LandingTarget) -> Manifest | None:
        found = None if self._overwrite else self._thread.call(self._place.landed, snapshot, target)
        if found is not None:
            logger.info("%s has landed at %s already", found.batch_id, found.uri)
            self._thread.call(self._place.remove_stale_parts)
        return found

    @contextmanager
    def _output(self, location: Location, format_name: str) -> Iterator[Output]:
        encoder = encoder_for(format_name)
        created: list[Output] = []  # filled even when the store answers only after the deadline, so it can be discarded
        try:
            self._thread.call(lambda: created.append(Output(location, format_name, encoder)))
            yield created[0]
        finally:
            with _warned("Leaving an unfinished object behind"):
                self._thread.clean_up(partial(_discard, created))


def _discard(created: Sequence[Output]) -> None:
    for output in created:
        output.discard()


@contextmanager
def _warned(problem: str) -> Iterator[None]:
    """Log a failure to clean up as a warning: the error that caused the cleanup is raised."""
    try:
        yield
    except BatchesError as error:
        logger.warning("%s: %s", problem, error)
