"""Send a call over the client's session, and convert every failure to a type of `errors`.

Rules of this file:
- Redirects are never followed: they would send the key to another host.
- Every call has a timeout.
- A create is sent over a new connection, and is sent again only when certainly no batch was created (`retry`).
- Failures are raised outside their except blocks: the exception chain would hold the prepared request, and with it the
  key.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

import requests
import tenacity
from urllib3.exceptions import HTTPError

from airflow_batches.api.auth import SecretAuth
from airflow_batches.api.body import BodyFailed, RequestBody, Sending
from airflow_batches.api.clock import ApiClock
from airflow_batches.api.conversion import error_from_exception, error_from_response
from airflow_batches.api.environment import advice
from airflow_batches.api.errors import BatchesError, EnvironmentFault, InvalidRequest
from airflow_batches.api.retry import RetryPolicy
from airflow_batches.api.session import Session

if TYPE_CHECKING:
    from requests.auth import AuthBase

logger = logging.getLogger(__name__)

LONG_PAUSE_S: Final = 5.0
"""Seconds of a pause that is worth a line in the log. Chosen: a person who reads the log notices a call that is silent
for longer."""
ERROR_BYTES: Final = 65_536
"""Bytes that are read of an error's body. Chosen: the API's errors are much shorter, a proxy's page has no limit."""

Timeout = float | tuple[float, float]
"""Seconds for connecting and for each wait for bytes: one for both, or a pair."""


class Transport:
    """Sends calls to one address, with one credential, and tells the API's time.

    :param base_url: the API's address.
    :param auth: signs each call.
    :param headers: headers of every call, checked.
    :param timeout: seconds.
    :param retry: which failures are retried.
    :param label: how errors begin.
    :param clock: returns the current time.
    """

    def __init__(
        self,
        base_url: str,
        auth: AuthBase,
        *,
        headers: Mapping[str, str],
        timeout: Timeout,
        retry: RetryPolicy,
        label: str,
        clock: Callable[[], datetime],
    ) -> None:
        self.label = label
        self.api_clock = ApiClock()
        self._base_url = base_url
        self._auth = auth
        self._timeout = timeout
        self._retry = retry
        self._clock = clock
        self._session = Session()
        self._session.headers.update(headers)

    def clone(self) -> Self:
        """Return another transport with the same settings and separate connections."""
        clone = copy.copy(self)
        clone.api_clock = copy.copy(self.api_clock)
        clone._session = Session()  # noqa: SLF001  # of the same class
        clone._session.headers.update(self._session.headers)  # noqa: SLF001
        return clone

    def close(self) -> None:
        """Close every connection."""
        self._session.close()

    def hide(self, answer: bytes) -> bytes:
        """Remove the key from an answer that an error may quote: a gateway may echo what it was sent."""
        return self._auth.hide(answer) if isinstance(self._auth, SecretAuth) else answer

    def send(
        self, method: str, path: str, *, creates: bool = False, retry: RetryPolicy | None = None, **options: Any
    ) -> requests.Response:
        """Send a call, again if the policy says so, and return the 2xx answer.

        :param creates: the call creates a batch.
        :param retry: replaces the transport's policy.
        :param options: `params`, `body` and `stream`, as `_send` has them.
        """
        policy = retry or self._retry

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return policy.delay(error, state.attempt_number) if isinstance(error, BatchesError) else 0.0

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: policy.retries(error, creates=creates)),
            stop=tenacity.stop_after_attempt(policy.attempts),
            wait=wait,
            before_sleep=_log_retry,
            reraise=True,
        )(self._send, method, path, fresh=creates, **options)

    def _send(
        self,
        method: str,
        path: str,
        *,
        fresh: bool,
        params: Mapping[str, str] | None = None,
        body: bytes | RequestBody | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a call once.

        :param fresh: use a new connection.
        :param stream: leave the answer's body unread.
        """
        if fresh:
            # The server may have closed an idle connection unnoticed. Then it is unknown whether a body sent over it
            # arrived.
            self._session.close()
        sending = None if body is None else Sending(body)
        failure: Exception
        try:
            response = self._session.request(
                method,
                self._base_url + path,
                params=params,
                data=sending,
                headers={"Content-Type": "application/json"} if sending is not None else None,
                auth=self._auth,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
            if response.status_code // 100 == 2:
                self.api_clock.read(response.headers)
                if not stream:
                    response.content  # noqa: B018  # reads the body here, where failures are converted
                return response
            failure = self._error(response, sent_bytes=None if sending is None else len(sending))
        except BodyFailed as exc:
            failure = exc.error
        except InvalidRequest as exc:
            failure = InvalidRequest(f"{self.label}: {exc}")
        except EnvironmentFault as exc:
            failure = EnvironmentFault(f"{self.label}: {exc}")
        except (requests.RequestException, HTTPError, OSError, ValueError) as exc:
            sent = sending is None or sending.handed_over
            failure = error_from_exception(exc, body_was_sent=sent, where=self.label, hint=advice(exc))
        raise failure

    def _error(self, response: requests.Response, *, sent_bytes: int | None) -> BatchesError:
        with response:
            try:
                body = response.raw.read(ERROR_BYTES, decode_content=True)
            except (HTTPError, OSError, ValueError) as exc:  # report the status, which is known, not the broken body
                body = f"(the error's body broke off: {type(exc).__name__})".encode()
        error = error_from_response(
            response.status_code,
            response.headers,
            self.hide(body),
            now=self._clock(),
            where=self.label,
            sent_bytes=sent_bytes,
        )
        if error.from_api:
            self.api_clock.read(response.headers)
        return error


def _log_retry(state: tenacity.RetryCallState) -> None:
    method, path = state.args
    error = state.outcome.exception() if state.outcome else None
    # One line a call: the quick tries after the first one say the same, every minute of an outage.
    level = logging.WARNING if state.attempt_number == 1 or state.upcoming_sleep >= LONG_PAUSE_S else logging.DEBUG
    logger.log(level, "%s %s failed; trying again in %.1f s: %s", method, path, state.upcoming_sleep, error)
