"""`/_emulator/`: the methods of `Emulator` over HTTP, for other processes.

This is not part of the API, so it has a path that the API does not have, and needs no key: everyone on this machine may
call it. Answers are JSON; an error is `{"error": text}`, and lists the known names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_batches.emulator.actions import ACTIONS
from airflow_batches.emulator.clock import timestamp
from airflow_batches.emulator.faults import fault
from airflow_batches.emulator.rules import make_rules
from airflow_batches.emulator.settings import ENDPOINTS
from airflow_batches.emulator.wire import Body, Head, Response

if TYPE_CHECKING:
    from airflow_batches.emulator.emulator import Emulator

ROOT: Final = "/_emulator"
_LIMIT: Final = 1_000_000
"""Bytes of a body; chosen: far more than all settings or a fault take."""


def concerns(path: str) -> bool:
    return path == ROOT or path.startswith(ROOT + "/")


def answer(emulator: Emulator, head: Head, body: Body) -> Response:
    """Answer a call of the control address."""
    try:
        arguments = _arguments(body)
        return _json(200, _handler(head)(emulator, arguments))
    except (ValueError, TypeError) as error:
        return _json(400, {"error": str(error)})
    except KeyError as error:
        return _json(404, {"error": f"there is no {error.args[0]}"})


def _handler(head: Head) -> Callable[[Emulator, dict[str, Any]], Any]:
    """Find the handler of a route; the segment `{id}` of its path becomes an argument."""
    given = head.path.removeprefix(ROOT).strip("/").split("/")
    for (method, path), handler in _ROUTES.items():
        wanted = path.split("/")
        if method != head.method or len(wanted) != len(given):
            continue
        if all(w in ("{id}", g) for w, g in zip(wanted, given, strict=True)):
            found = [g for w, g in zip(wanted, given, strict=True) if w == "{id}"]
            return lambda emulator, arguments: handler(emulator, *found, **arguments)
    known = ", ".join(f"{method} {ROOT}/{path}" for method, path in _ROUTES)
    raise KeyError(f"{head.method} {head.path}; known are {known}")


def _arguments(body: Body) -> dict[str, Any]:
    data = bytearray()
    for block in body.blocks():
        data += block
        if len(data) > _LIMIT:
            raise ValueError("the body is too large")
    return msgspec.json.decode(data, type=dict[str, Any]) if data else {}


def _json(status: int, value: Any) -> Response:
    return Response(status, {"content-type": "application/json"}, msgspec.json.encode(value))


def _overview(emulator: Emulator) -> dict[str, Any]:
    return {
        "url": emulator.url,
        "api_key": emulator.api_key,
        "routes": [f"{method} {ROOT}/{path}" for method, path in _ROUTES],
        "endpoints": ENDPOINTS,
        "actions": ACTIONS,
    }


def _clock(emulator: Emulator) -> dict[str, Any]:
    return {"now": timestamp(emulator.clock.micros()), "offset": emulator.clock.offset / 1e6}


def _advance(emulator: Emulator, seconds: float) -> dict[str, Any]:
    emulator.clock.advance(seconds)
    return _clock(emulator)


def _settings(emulator: Emulator, **changes: Any) -> Any:
    emulator.configure(**changes)
    return emulator.settings.as_dict()


def _counters(emulator: Emulator) -> dict[str, Any]:
    return {"calls": emulator.counters, "connections": emulator.connections}


def _faults(emulator: Emulator) -> dict[str, Any]:
    return {"faults": [plan.as_dict() for plan in emulator.faults.all()]}


def _add_fault(emulator: Emulator, **values: Any) -> dict[str, Any]:
    return emulator.fault(fault(**values)).as_dict()


def _fault(emulator: Emulator, plan_id: str) -> dict[str, Any]:
    plan = emulator.faults.get(plan_id)
    if plan is None:
        raise KeyError(f"fault {plan_id}")
    return plan.as_dict()


def _delete_fault(emulator: Emulator, plan_id: str) -> dict[str, Any]:
    last = _fault(emulator, plan_id)
    emulator.faults.remove(plan_id)
    return last


def _delete_faults(emulator: Emulator) -> dict[str, Any]:
    emulator.faults.clear()
    return _faults(emulator)


def _rules(emulator: Emulator) -> dict[str, Any]:
    book = emulator.rules
    pairs = zip(book.rules, book.applied(), strict=True)
    return {"rules": [{**rule.as_dict(), "applied": applied} for rule, applied in pairs]}


def _put_rules(emulator: Emulator, rules: list[Any]) -> dict[str, Any]:
    emulator.set_rules(make_rules(rules))
    return _rules(emulator)


def _batches(emulator: Emulator) -> dict[str, Any]:
    return {"batches": emulator.batches()}


def _end(emulator: Emulator, batch_id: str) -> dict[str, Any]:
    return emulator.end(batch_id)


def _archive(emulator: Emulator, batch_id: str) -> dict[str, Any]:
    return emulator.archive(batch_id)


def _end_all(emulator: Emulator) -> dict[str, Any]:
    return {"ended": emulator.end_all()}


def _reset(emulator: Emulator) -> dict[str, Any]:
    emulator.reset()
    return _overview(emulator)


_ROUTES: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    ("GET", ""): _overview,
    ("GET", "clock"): _clock,
    ("POST", "clock/advance"): _advance,
    ("GET", "settings"): _settings,
    ("PATCH", "settings"): _settings,
    ("GET", "counters"): _counters,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _delete_faults,
    ("GET", "faults/{id}"): _fault,
    ("DELETE", "faults/{id}"): _delete_fault,
    ("GET", "rules"): _rules,
    ("PUT", "rules"): _put_rules,
    ("GET", "batches"): _batches,
    ("POST", "batches/end"): _end_all,
    ("POST", "batches/{id}/end"): _end,
    ("POST", "batches/{id}/archive"): _archive,
    ("POST", "reset"): _reset,
}
