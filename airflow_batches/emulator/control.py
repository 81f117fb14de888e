"""`/_emulator/`: the methods of `Emulator` over HTTP, for other processes.

This is not part of the API, so it has a path that the API does not have. It needs no key as long as only this machine
can connect; else it takes the emulator's. Rules: a GET takes its fields from the query and changes nothing; every other
method takes them as a JSON object. Answers are JSON; an error is `{"error": sentence}`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_type_hints

import msgspec

from airflow_batches.emulator.clock import timestamp
from airflow_batches.emulator.faults import fault
from airflow_batches.emulator.manual import fault_manual, route_manual, rule_manual, setting_manual
from airflow_batches.emulator.rule_files import make_rules, only_answers
from airflow_batches.emulator.rulebook import RuleBook
from airflow_batches.emulator.wire import Body, Head, Response

if TYPE_CHECKING:
    from airflow_batches.emulator.emulator import Emulator

ROOT: Final = "/_emulator"
_LIMIT: Final = 1_000_000
"""Bytes of a body; chosen: far more than all settings or a fault take."""

Handler = Callable[..., Any]


class ControlError(Exception):
    """A control call that cannot be executed, with the status and the sentence of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def concerns(path: str) -> bool:
    return path == ROOT or path.startswith(ROOT + "/")


def answer(emulator: Emulator, head: Head, body: Body) -> Response:
    """Answer a call of the control address."""
    try:
        _admit(emulator, head.headers)
        handler, ids = _route(head)
        given = head.query if head.method == "GET" else _object(body)
        fields = _fields(handler, len(ids), f"{head.method} {head.path}", given)
        return _json(200, handler(emulator, *ids, **fields))
    except ControlError as error:
        return _json(error.status, {"error": str(error)})
    except ValueError as error:
        return _json(400, {"error": str(error)})


def _admit(emulator: Emulator, headers: Mapping[str, str]) -> None:
    """Ask for the key where other machines can connect, and refuse pages in a browser on this one."""
    if "origin" in headers:
        raise ControlError(403, "The control address takes no calls from web pages: this call has an Origin header")
    given = {headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer ")}
    if not emulator.address.is_loopback and emulator.api_key not in given:
        raise ControlError(
            401,
            "Other machines can connect to this emulator, so its control address takes the API key, as x-api-key or "
            "Bearer.",
        )


def _route(head: Head) -> tuple[Handler, list[str]]:
    """Find the handler of a route, and what stands in its path for `{id}`."""
    given = head.path.removeprefix(ROOT).strip("/").split("/")
    methods = []
    for (method, path), handler in _ROUTES.items():
        wanted = path.split("/")
        if len(wanted) == len(given) and all(w in ("{id}", g) for w, g in zip(wanted, given, strict=True)):
            if method == head.method:
                return handler, [g for w, g in zip(wanted, given, strict=True) if w == "{id}"]
            methods.append(method)
    if methods:
        raise ControlError(405, f"{head.path} takes {' and '.join(methods)}, not {head.method}.")
    known = ", ".join(f"{method} {ROOT}/{path}" for method, path in _ROUTES)
    raise ControlError(404, f"There is no route {head.method} {head.path}; known are {known}.")


def _object(body: Body) -> dict[str, Any]:
    data = bytearray()
    for block in body.blocks():
        data += block
        if len(data) > _LIMIT:
            raise ControlError(413, f"The body has more than {_LIMIT:,} bytes.")
    try:
        return msgspec.json.decode(data, type=dict[str, Any]) if data else {}
    except msgspec.DecodeError as error:
        raise ControlError(400, f"The body is not a JSON object: {error}.") from None


def _fields(handler: Handler, ids: int, route: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the given fields against the handler's parameters, and convert them to their types.

    Its first parameters are the emulator and the ids in the path.
    """
    parameters = [*inspect.signature(handler).parameters.values()][1 + ids :]
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return dict(given)
    known = {each.name: each for each in parameters}
    if unknown := [name for name in given if name not in known]:
        takes = f"takes {', '.join(known)}" if known else "takes no fields"
        raise ControlError(400, f"{route} {takes}, not {', '.join(unknown)}.")
    if missing := [name for name, each in known.items() if each.default is each.empty and name not in given]:
        raise ControlError(400, f"{route} needs {', '.join(missing)}.")
    hints = get_type_hints(handler, localns={"Emulator": object})
    return {name: _converted(name, value, hints[name]) for name, value in given.items()}


def _converted(name: str, value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ControlError(400, f"The field {name} is wrong: {error}.") from None


def _json(status: int, value: Any) -> Response:
    return Response(status, {"content-type": "application/json"}, msgspec.json.encode(value))


def _batch(method: Callable[[str], dict[str, Any]], batch_id: str) -> dict[str, Any]:
    try:
        return method(batch_id)
    except KeyError:
        raise ControlError(404, f"No batch has the id {batch_id!r}.") from None


def _overview(emulator: Emulator) -> dict[str, Any]:
    """Return this overview: the URL, the key, and every route, fault, rule and setting."""
    return {
        "url": emulator.url,
        "api_key": emulator.api_key,
        "routes": route_manual(ROOT, _ROUTES),
        "faults": fault_manual(),
        "rules": rule_manual(),
        "settings": setting_manual(),
    }


def _clock(emulator: Emulator) -> dict[str, Any]:
    """Return the emulator's time, and the seconds by which it is ahead of real time."""
    return {"now": timestamp(emulator.clock.micros()), "offset": emulator.clock.offset / 1e6}


def _advance(emulator: Emulator, seconds: float) -> dict[str, Any]:
    """Move the clock forward.

    :param seconds: how far; 0 or more.
    """
    emulator.clock.advance(seconds)
    return _clock(emulator)


def _settings(emulator: Emulator) -> Any:
    """Return all settings."""
    return emulator.settings.as_dict()


def _change_settings(emulator: Emulator, **changes: Any) -> Any:
    """Change settings: its fields are those under `settings` here. One wrong value, and none is changed."""
    emulator.configure(**changes)
    return _settings(emulator)


def _counters(emulator: Emulator) -> dict[str, Any]:
    """Count the calls of each endpoint, and the connections."""
    return {"calls": emulator.counters, "connections": emulator.connections}


def _requests(
    emulator: Emulator, endpoint: str | None = None, batch_id: str | None = None, custom_id: str | None = None
) -> dict[str, Any]:
    """List the received calls, oldest first, credentials redacted, and count what was dropped.

    :param endpoint: only calls of this endpoint.
    :param batch_id: only calls about this batch, its create included.
    :param custom_id: only creates with such a request, of which only that one is listed.
    """
    journal = emulator.requests
    found = journal.find(endpoint=endpoint, batch_id=batch_id, custom_id=custom_id)
    dropped = {"calls": journal.dropped_calls, "bytes": journal.dropped_bytes}
    return {"calls": [call.as_dict(custom_id) for call in found], "dropped": dropped}


def _forget_requests(emulator: Emulator) -> dict[str, Any]:
    """Forget the received calls."""
    emulator.requests.clear()
    return _requests(emulator)


def _faults(emulator: Emulator) -> dict[str, Any]:
    """List the faults, and how often each has struck."""
    return {"faults": [plan.as_dict() for plan in emulator.faults.all()]}


def _add_fault(emulator: Emulator, **values: Any) -> dict[str, Any]:
    """Add a fault: its fields are those under `faults` here."""
    return emulator.fault(fault(**values)).as_dict()


def _fault(emulator: Emulator, plan_id: str) -> dict[str, Any]:
    """Return one fault."""
    plan = emulator.faults.get(plan_id)
    if plan is None:
        raise ControlError(404, f"No fault has the id {plan_id!r}.")
    return plan.as_dict()


def _delete_fault(emulator: Emulator, plan_id: str) -> dict[str, Any]:
    """Delete one fault, and return it a last time."""
    last = _fault(emulator, plan_id)
    emulator.faults.remove(plan_id)
    return last


def _delete_faults(emulator: Emulator) -> dict[str, Any]:
    """Delete all faults."""
    emulator.faults.clear()
    return _faults(emulator)


def _listed(book: RuleBook) -> list[dict[str, Any]]:
    return [{**rule.as_dict(), "applied": count} for rule, count in zip(book.rules, book.applied(), strict=True)]


def _rules(emulator: Emulator) -> dict[str, Any]:
    """List the rules, and how many requests each has applied to."""
    return {"rules": _listed(emulator.rules)}


def _put_rules(emulator: Emulator, rules: list[Any]) -> dict[str, Any]:
    """Replace all rules, from the next create on; their fields are those under `rules` here.

    :param rules: the new rules, in order; an empty list removes all.
    """
    emulator.set_rules(make_rules(rules))
    return _rules(emulator)


def _answers(emulator: Emulator) -> dict[str, Any]:
    """List the answers, and how many requests each has answered."""
    return {"answers": _listed(emulator.answers)}


def _put_answers(emulator: Emulator, answers: list[Any]) -> dict[str, Any]:
    """Replace all answers, from the next create on: rules with an answer, which follow the rules and the shares.

    :param answers: the new answers, in order; an empty list restores the emulator's own.
    """
    emulator.set_answers(make_rules(answers, only_answers, "answer"))
    return _answers(emulator)


def _batches(emulator: Emulator) -> dict[str, Any]:
    """List the batches of all workspaces, newest first."""
    return {"batches": emulator.batches()}


def _end(emulator: Emulator, batch_id: str) -> dict[str, Any]:
    """End a batch now."""
    return _batch(emulator.end, batch_id)


def _archive(emulator: Emulator, batch_id: str) -> dict[str, Any]:
    """End a batch, and remove its results as the API does after 29 days."""
    return _batch(emulator.archive, batch_id)


def _end_all(emulator: Emulator) -> dict[str, Any]:
    """End every batch that has not ended."""
    return {"ended": emulator.end_all()}


def _reset(emulator: Emulator) -> dict[str, Any]:
    """Remove all batches, faults, counts and received calls, and restore clock, rules, answers and settings."""
    emulator.reset()
    return _overview(emulator)


_ROUTES: Final[dict[tuple[str, str], Handler]] = {
    ("GET", ""): _overview,
    ("GET", "clock"): _clock,
    ("POST", "clock/advance"): _advance,
    ("GET", "settings"): _settings,
    ("PATCH", "settings"): _change_settings,
    ("GET", "counters"): _counters,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _forget_requests,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _delete_faults,
    ("GET", "faults/{id}"): _fault,
    ("DELETE", "faults/{id}"): _delete_fault,
    ("GET", "rules"): _rules,
    ("PUT", "rules"): _put_rules,
    ("GET", "answers"): _answers,
    ("PUT", "answers"): _put_answers,
    ("GET", "batches"): _batches,
    ("POST", "batches/end"): _end_all,
    ("POST", "batches/{id}/end"): _end,
    ("POST", "batches/{id}/archive"): _archive,
    ("POST", "reset"): _reset,
}
