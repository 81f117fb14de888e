"""Run a job in a task: one leg builds an engine, takes all steps, then defers or blocks until it can go on.

| the engine                                     | the task                                                           |
|------------------------------------------------|--------------------------------------------------------------------|
| returns a manifest                             | judges the failures, returns it                                    |
| waits for batches                              | defers until the first one ends                                    |
| waits for a time: a full queue, a search for a | defers until then as well; short pauses of the first leg block     |
| lost create, another runner's lease            |                                                                    |
| tries a failure again                          | blocks: only this engine knows since when the failure lasts        |
| the trigger gave a batch up                    | blocks for `STAY_S`, so that the engine sees for itself            |
| raises                                         | fails; without a retry if that cannot help                         |

Every leg reads the ledger again, so only the deadline travels with a deferral, and whether the job was begun: its
requests are compared once in each try.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from airflow_batches.operators.failures import TRACE, task_errors
from airflow_batches.operators.job_engine import BuildsJob, Leg, owner_of
from airflow_batches.operators.outlets import RETURN_VALUE, update_outlets
from airflow_batches.operators.waiting import BACKSTOP

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_batches.jobs.engine import Engine
    from airflow_batches.jobs.ledger import JobLedger
    from airflow_batches.jobs.manifest import JobManifest
    from airflow_batches.jobs.steps import Pause

logger = logging.getLogger(__name__)

PROGRESS: Final = "progress"
"""The XCom key of the job's state, which is pushed whenever the task wakes up."""
MANIFEST_NAME: Final = "manifest.json"
"""As `jobs.manifest.MANIFEST`, which is not imported here to keep the import of operators fast."""
LEAST_DEFERRAL_S: Final = 30.0
"""Seconds of a deferral for a time, at least. Chosen: a deferral and its return to a worker take seconds, and the
trigger fires nothing in its first 10 s."""
STAY_S: Final = 90.0
"""Seconds to stay on the worker after the trigger gave a batch up. Chosen above the 60 s for which a 404 must stand."""
HEARTBEAT_S: Final = 900.0
"""Seconds without a line in the log of a blocking task, at most. Chosen: as `waiting.progress.HEARTBEAT_S`."""


class RunsJob(BuildsJob):
    """A mixin for a task that runs a job, placed before `BaseOperator`."""

    if TYPE_CHECKING:
        log: Logger
        outlets: Any
        defer: Callable[..., NoReturn]

    STAY_FIRST_S: ClassVar[float] = 20.0
    """Seconds of short pauses that the first leg spends on the worker. Chosen: the list of batches lags by seconds."""

    def run_leg(
        self,
        context: Context,
        *,
        begun: bool,
        deadline: float,
        resend_canceled: bool = False,
        event: Any = None,
    ) -> dict[str, Any] | None:
        """Take every step that can be taken; then finish, defer or block.

        :param begun: the requests were compared with the job's before in this try; they are not read again.
        :param deadline: when the try ends, in seconds since the epoch.
        :param resend_canceled: requests that were canceled before this run are sent again.
        :param event: the trigger's event.
        :return: the manifest as plain JSON values; None if there are no requests.
        """
        from airflow_batches.hooks import MessageBatchesHook
        from airflow_batches.hooks.connection import client_for

        with task_errors(), self._job_errors():
            connection = MessageBatchesHook(self.conn_id).get_connection(self.conn_id)
            asked = self._asked(context, connection, begun=begun)
            gave_up = _gave_up(event)
            stay = STAY_S if gave_up else self.STAY_FIRST_S if event is None else 0.0
            with client_for(connection) as client:
                leg = self._leg(context, client, connection, asked, resend_canceled=resend_canceled)
                leg.deadline, leg.stay_until, leg.gave_up = deadline, time.time() + stay, gave_up
                with leg.handler, self._released(leg.engine):
                    return self._finish(leg, self._run(leg))

    def _run(self, leg: Leg) -> JobManifest:
        from airflow_batches.jobs.steps import Pause

        while isinstance(found := leg.engine.advance(), Pause):
            leg.handler.check()
            self._report(leg, found)
            if time.time() >= leg.deadline:
                self._time_out(leg)
            self._pause(leg, found)
        self._push_progress(leg)
        return found

    def _pause(self, leg: Leg, pause: Pause) -> None:
        """Wait here, or leave the worker."""
        now = time.time()
        left = min(pause.until.timestamp(), leg.deadline) - now
        stays = now < leg.stay_until and (leg.gave_up or not pause.for_batches)
        if stays or leg.engine.in_trouble or not self.deferrable:
            time.sleep(max(0.0, left))
            return
        self._defer(leg, pause)

    def _defer(self, leg: Leg, pause: Pause) -> None:
        from airflow_batches.triggers.job import JobTrigger

        ledger = leg.engine.ledger
        _release(leg.engine)
        now = time.time()
        wake_at = leg.deadline
        if not pause.for_batches:
            wake_at = min(wake_at, max(pause.until.timestamp(), now + LEAST_DEFERRAL_S))
        self.defer(
            trigger=JobTrigger(
                conn_id=self.conn_id,
                batch_ids=[batch.id for batch in ledger.live] if ledger else [],
                until="first",
                wake_at=wake_at,
                poll_interval=self.poll_interval,
                since=now,
                cancel_on_kill=self.cancel_on_kill,
                path=self.path,
                storage_conn_id=self.storage_conn_id,
                owner=owner_of(leg.context),
            ),
            method_name="execute_again",
            kwargs={"deadline": leg.deadline, "begun": ledger is not None},
            timeout=max(0.0, leg.deadline - now) + self.poll_interval + BACKSTOP,
        )

    def _time_out(self, leg: Leg) -> NoReturn:
        from airflow_batches._compat import AirflowException, AirflowFailException
        from airflow_batches.jobs.progress import describe

        ledger = leg.engine.ledger
        state = describe(ledger, datetime.now(UTC)) if ledger else "Another runner has the job"
        message = f"The job in {self.path} is not done after {self.timeout:,.0f} s (timeout). {state}."
        if not self.cancel_on_timeout or ledger is None:
            raise AirflowException(f"{message} Its batches go on; a retry waits for the same ones")
        if not leg.engine.is_current():
            raise AirflowException(f"{message} Nothing is canceled: another runner has taken the job over")
        failures = self._cancel_all(leg, ledger)
        if failures:
            raise AirflowFailException(f"{message} Canceling failed, they may run and be billed: {'; '.join(failures)}")
        raise AirflowFailException(
            f"{message} {len(ledger.live)} batches are canceling or have ended, as cancel_on_timeout asks; requests in "
            "flight are still answered, and billed. Clear the task to go on"
        )

    def _cancel_all(self, leg: Leg, ledger: JobLedger) -> list[str]:
        """Cancel all batches under way; return what is not confirmed."""
        from airflow_batches.api.cancel_all import cancel_all

        failures = []
        if ledger.pending is not None:
            failures.append(f"a create of {ledger.pending.intent.sent.requests:,} requests has no answer yet")
        ids = [batch.id for batch in ledger.live]
        unconfirmed = cancel_all(leg.client, ids, reason="the job's timeout is over, cancel_on_timeout is set")
        return failures + [str(error) for error in unconfirmed.values()]

    def _report(self, leg: Leg, pause: Pause) -> None:
        """Log the state and push it to XCom: when the leg pauses first, and then from time to time."""
        from airflow_batches.jobs.progress import describe

        now = time.time()
        if now - leg.logged_at < HEARTBEAT_S:
            return
        leg.logged_at = now
        ledger = leg.engine.ledger
        state = describe(ledger, datetime.now(UTC)) if ledger else "Not begun"
        self.log.info("%s. Waiting until %s", state, pause.reason)
        self._push_progress(leg)

    def _push_progress(self, leg: Leg) -> None:
        from airflow_batches.jobs.progress import progress_of

        if leg.engine.ledger is not None:
            leg.context["ti"].xcom_push(key=PROGRESS, value=progress_of(leg.engine.ledger))

    def _finish(self, leg: Leg, manifest: JobManifest) -> dict[str, Any]:
        from airflow_batches.jobs.errors import JobFailed
        from airflow_batches.jobs.events import failures_text
        from airflow_batches.jobs.run import require_answers

        try:
            require_answers(manifest, self.max_failure_rate)
        except JobFailed:  # the answers are paid for and published, so the manifest is pushed all the same
            leg.context["ti"].xcom_push(key=RETURN_VALUE, value=manifest.to_dict())
            raise
        folder = manifest.failed.uri.rpartition("/")[0]
        update_outlets(leg.context, self.outlets, f"{folder}/{MANIFEST_NAME}", manifest.to_dict())
        if manifest.failures:
            self.log.warning("%s They are in %s", failures_text(manifest), manifest.failed.uri)
        return manifest.to_dict()

    @contextmanager
    def _released(self, engine: Engine) -> Iterator[None]:
        """Give up the lease if the block fails, so that another runner can go on at once."""
        from airflow_batches.jobs.errors import JobOvertaken

        try:
            yield
        except JobOvertaken:
            raise
        except Exception:
            _release(engine)
            raise

    @contextmanager
    def _job_errors(self) -> Iterator[None]:
        """Raise as failures without a retry what a retry cannot help; apply `on_empty`."""
        from airflow_batches._compat import AirflowFailException, AirflowSkipException
        from airflow_batches.jobs.errors import JobCanceled, JobFailed, JobStopped, LedgerError
        from airflow_batches.submission.errors import EmptySource

        try:
            yield
        except (JobStopped, JobCanceled, JobFailed, LedgerError) as error:
            logger.debug(TRACE, exc_info=error)
            raise AirflowFailException(str(error)) from None
        except EmptySource as error:
            if self.on_empty == "skip":
                raise AirflowSkipException(str(error)) from error
            if self.on_empty == "fail":
                raise
            self.log.warning("%s; there is nothing to do", error)


def _release(engine: Engine) -> None:
    """Give up the lease. If that fails, it expires; this task's next leg has the same owner, and need not wait."""
    from airflow_batches.api import BatchesError

    with suppress(BatchesError):
        engine.release()


def _gave_up(event: Any) -> bool:
    """Whether the trigger gave a batch up, which the engine must see for itself."""
    outcomes = event.get("outcomes", ()) if isinstance(event, Mapping) else ()
    return any(outcome.get("ending") != "ended" for outcome in outcomes)
