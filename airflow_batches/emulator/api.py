"""The steps of a call: route, faults, length, key, rate, body, handler, headers.

What can be refused by the head alone is refused before the body is read, as the API and its edge do. Every refusal is
raised as ErrorAnswer, and becomes a response only here.
"""

from __future__ import annotations

import logging
from functools import partial
from time import monotonic
from typing import Final

from airflow_batches.emulator import actions, ids
from airflow_batches.emulator.access import admit
from airflow_batches.emulator.call import Call, State
from airflow_batches.emulator.clock import timestamp
from airflow_batches.emulator.errors import EdgeTooLarge, ErrorAnswer, edge_response, error_response
from airflow_batches.emulator.faults import Fault
from airflow_batches.emulator.headers import HeaderValues, with_headers
from airflow_batches.emulator.journal import ReceivedCall
from airflow_batches.emulator.limits import seconds_left
from airflow_batches.emulator.routes import HANDLERS, find_route
from airflow_batches.emulator.spool import spool
from airflow_batches.emulator.wire import Body, Connection, Head, Response

_LOG: Final = logging.getLogger(__name__)


def answer(state: State, connection: Connection, head: Head, body: Body) -> Response:
    """Answer one API call. Raises Hangup where a fault ends the connection instead."""
    request_id, began = ids.request_id(), monotonic()
    received = state.journal.begin(head, request_id, timestamp(state.clock.micros()))
    call: Call | None = None
    try:
        target = find_route(head.method, head.path, state.prefix)
        state.count(target.endpoint)
        call = Call(state, connection, head, body, target.endpoint, target.batch_id, request_id)
        response = _noted(call, received)
    except EdgeTooLarge:
        response = edge_response(413)
    except ErrorAnswer as error:
        response = error_response(error, request_id)
    if call is None:
        state.journal.keep(received)
    received.status = response.status
    _LOG.info("%s %s -> %s", head.method, head.path, response.status)
    workspace = call.workspace if call is not None else ""
    return with_headers(response, _header_values(state, request_id, workspace, monotonic() - began))


def _noted(call: Call, received: ReceivedCall) -> Response:
    """Handle a call, and keep it in the journal whether it is answered or not."""
    journal = call.state.journal
    received.endpoint, received.batch_id = call.endpoint, call.batch_id
    journal.keep(received)
    try:
        return _handled(call)
    finally:
        received.batch_id = call.batch_id
        journal.keep_body(received, call.payload)


def _handled(call: Call) -> Response:
    """Return the answer, or what the fault plans for such a call make of it."""
    if fault := _claim(call, actions.ARRIVAL):
        actions.ARRIVAL[fault.action](fault, call)
    limit = call.settings.max_body_bytes
    if (call.body.declared or 0) > limit:
        raise EdgeTooLarge
    call.workspace = admit(call.head.headers, call.endpoint, call.settings)
    _keep_to_limit(call)
    encoding = call.head.headers.get("content-encoding", "").lower()
    call.payload = spool(call.body, encoding, limit)
    proceed = partial(HANDLERS[call.endpoint], call)
    if fault := _claim(call, actions.EFFECT):
        return actions.EFFECT[fault.action](fault, call, proceed)
    response = proceed()
    if fault := _claim(call, actions.ANSWER):
        return actions.ANSWER[fault.action](fault, call, response)
    return response


def _keep_to_limit(call: Call) -> None:
    now = call.state.clock.micros()
    calls = call.state.window.enter(now)
    if call.settings.enforce_rate_limit and calls > call.settings.requests_per_minute:
        raise ErrorAnswer(429, headers={"retry-after": str(seconds_left(now))})


def _header_values(state: State, request_id: str, workspace: str, seconds: float) -> HeaderValues:
    """Collect the values of the headers.

    The rate limit, like the workspace, is sent only once the key is accepted.
    """
    now = state.clock.micros()
    limits = state.window.headers(now, state.settings.requests_per_minute) if workspace else {}
    return HeaderValues(now, round(seconds * 1000), request_id, workspace, limits)


def _claim(call: Call, table: actions.Table) -> Fault | None:
    return call.state.plans.claim(table, call.endpoint, call.batch_id)
