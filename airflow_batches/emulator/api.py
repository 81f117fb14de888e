"""The way of an API call: route, faults, body, key, limits, faults, handler, faults, headers.

Everything that refuses raises ApiError; it becomes a response here and nowhere else.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import Final

from airflow_batches.emulator import actions, ids
from airflow_batches.emulator.access import admit
from airflow_batches.emulator.call import Call, World
from airflow_batches.emulator.clock import http_date
from airflow_batches.emulator.errors import ApiError, EdgeTooLarge, edge_response, error_response
from airflow_batches.emulator.faults import Fault
from airflow_batches.emulator.limits import seconds_left
from airflow_batches.emulator.routes import HANDLERS, find_route
from airflow_batches.emulator.spool import spool
from airflow_batches.emulator.wire import Body, Connection, Head, Response

_LOG: Final = logging.getLogger(__name__)
ORGANIZATION: Final = "e5f1a4c2-7b1d-4c39-9a58-0d6f2b7c8e10"


def answer(world: World, connection: Connection, head: Head, body: Body) -> Response:
    """The response to one API call. Raises Hangup where a fault ends the connection instead."""
    request_id = ids.request_id()
    call: Call | None = None
    try:
        target = find_route(head.method, head.path, world.prefix)
        world.count(target.endpoint)
        call = Call(world, connection, head, body, target.endpoint, target.batch_id, request_id)
        response = _struck(call)
    except EdgeTooLarge:
        response = edge_response(413)
    except ApiError as error:
        response = error_response(error, request_id)
    _LOG.info("%s %s -> %s", head.method, head.path, response.status)
    return _dressed(response, request_id, world, call)


def _struck(call: Call) -> Response:
    """The answer, or what the faults that wait for such a call make of it."""
    if fault := _claim(call, actions.ARRIVAL):
        actions.ARRIVAL[fault.action](fault, call)
    encoding = call.head.headers.get("content-encoding", "").lower()
    call.payload = spool(call.body, encoding, call.settings.max_body_bytes)
    call.workspace = admit(call.head.headers, call.endpoint, call.settings)
    _keep_to_limit(call)
    proceed = partial(HANDLERS[call.endpoint], call)
    if fault := _claim(call, actions.EFFECT):
        return actions.EFFECT[fault.action](fault, call, proceed)
    response = proceed()
    if fault := _claim(call, actions.ANSWER):
        return actions.ANSWER[fault.action](fault, call, response)
    return response


def _keep_to_limit(call: Call) -> None:
    now = call.world.clock.micros()
    calls = call.world.window.enter(now)
    if call.settings.enforce_rate_limit and calls > call.settings.requests_per_minute:
        raise ApiError(429, headers={"retry-after": str(seconds_left(now))})


def _dressed(response: Response, request_id: str, world: World, call: Call | None) -> Response:
    """The headers every answer has; those behind the key only once the key is known."""
    now = world.clock.micros()
    headers = {"date": http_date(now), **response.headers}
    if not response.edge:
        headers["request-id"] = request_id
        if call is not None and call.workspace:
            headers |= world.window.headers(now, world.settings.requests_per_minute)
            headers["anthropic-organization-id"] = ORGANIZATION
            headers["anthropic-workspace-id"] = call.workspace
        headers["x-robots-tag"] = "none"
        headers["vary"] = "Accept-Encoding"
    headers["server"] = "airflow-batches-emulator"
    return replace(response, headers=headers)


def _claim(call: Call, table: actions.Table) -> Fault | None:
    return call.world.plans.claim(table, call.endpoint, call.batch_id)
