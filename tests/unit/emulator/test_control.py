"""`/_emulator/`: everything a test can do in the process can be done over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from airflow_batches.emulator import Emulator
from airflow_batches.emulator.actions import ACTIONS
from airflow_batches.emulator.settings import ENDPOINTS
from tests.unit.emulator.client import dial, everything, lines
from tests.unit.emulator.conftest import Start


def ask(emulator: Emulator, method: str, path: str, expected: int = 200, /, **body: Any) -> dict[str, Any]:
    """A control call, which needs no key."""
    response = requests.request(method, f"{emulator.control_url}/{path}", json=body or None, timeout=30)
    assert response.status_code == expected, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_the_overview_names_url_key_routes_endpoints_and_actions(emulator: Emulator) -> None:
    overview = ask(emulator, "GET", "")
    assert overview["url"] == emulator.url
    assert overview["api_key"] == emulator.api_key
    assert overview["endpoints"] == list(ENDPOINTS)
    assert overview["actions"] == ACTIONS
    assert "POST /_emulator/faults" in overview["routes"]
    assert requests.get(emulator.control_url, timeout=30).json() == overview


def test_the_clock_is_told_and_moved(emulator: Emulator) -> None:
    before = datetime.fromisoformat(ask(emulator, "GET", "clock")["now"])
    moved = ask(emulator, "POST", "clock/advance", seconds=3600)
    assert moved["offset"] == 3600
    assert datetime.fromisoformat(moved["now"]) - before >= timedelta(hours=1)
    assert emulator.clock.now() - before >= timedelta(hours=1)


@pytest.mark.parametrize("body", [{"seconds": -1}, {"seconds": "soon"}, {"minutes": 5}, {}], ids=str)
def test_a_clock_that_cannot_be_moved_so_is_refused(body: dict[str, Any], emulator: Emulator) -> None:
    assert "error" in ask(emulator, "POST", "clock/advance", 400, **body)
    assert emulator.clock.offset == 0


def test_settings_are_told_and_changed(emulator: Emulator) -> None:
    assert ask(emulator, "GET", "settings") == emulator.settings.as_dict() | {"denied": [], "models": []}
    changed = ask(emulator, "PATCH", "settings", processing_time=60, denied=["delete"], answer_chars=None)
    assert (changed["processing_time"], changed["denied"]) == (60, ["delete"])
    assert (emulator.settings.processing_time, emulator.settings.denied) == (60, ("delete",))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"processing_tiem": 1}, "unknown settings processing_tiem; known are api_key, "),
        ({"processing_time": -1}, "processing_time must be 0 or more: -1"),
        ({"errored_share": 2}, "errored_share must be between 0 and 1: 2"),
        ({"chunk_bytes": 0}, "chunk_bytes must be 1 or more: 0"),
        ({"order": "random"}, "order: Invalid enum value 'random'"),
        ({"denied": ["everything"]}, "denied must be among create, list, get"),
        ({"gzip": "yes"}, "gzip: Expected `bool`, got `str`"),
    ],
)
def test_a_bad_setting_is_refused_and_none_of_the_others_is_changed(
    changes: dict[str, Any], text: str, emulator: Emulator
) -> None:
    refused = ask(emulator, "PATCH", "settings", 400, seed=5, **changes)
    assert refused["error"].startswith(text)
    assert emulator.settings.seed == 0
    with pytest.raises((ValueError, AttributeError)):
        setattr(emulator.settings, *next(iter(changes.items())))


def test_a_fault_is_a_resource_that_tells_how_often_it_struck(start: Start) -> None:
    emulator, client = start()
    made = ask(emulator, "POST", "faults", endpoint="list", action="status", status=529, times=2)
    assert (made["id"], made["struck"], made["status"], made["times"]) == ("fault_1", 0, 529, 2)
    assert client.list().status_code == 529
    assert ask(emulator, "GET", "faults/fault_1")["struck"] == 1
    assert ask(emulator, "GET", "faults") == {"faults": [made | {"struck": 1}]}
    assert ask(emulator, "DELETE", "faults/fault_1")["struck"] == 1
    assert client.list().status_code == 200
    assert ask(emulator, "GET", "faults/fault_1", 404) == {"error": "there is no fault fault_1"}
    assert ask(emulator, "DELETE", "faults/fault_1", 404)


def test_all_faults_can_be_deleted_at_once(start: Start) -> None:
    emulator, client = start()
    for endpoint in ("list", "get"):
        ask(emulator, "POST", "faults", endpoint=endpoint, action="status")
    assert ask(emulator, "DELETE", "faults") == {"faults": []}
    assert client.list().status_code == 200


@pytest.mark.parametrize(
    ("fault", "known"),
    [
        (
            {"endpoint": "nowhere", "action": "cut"},
            "create, list, get, cancel, delete, results, models, model",
        ),
        ({"endpoint": "get", "action": "explode"}, ", ".join(ACTIONS)),
    ],
)
def test_a_fault_that_is_none_is_refused_with_what_is_known(
    fault: dict[str, Any], known: str, emulator: Emulator
) -> None:
    assert known in ask(emulator, "POST", "faults", 400, **fault)["error"]


@pytest.mark.parametrize("fault", [{}, {"endpoint": "get"}, {"endpoint": "get", "action": "cut", "tmies": 1}], ids=str)
def test_a_fault_with_missing_or_unknown_members_is_refused(fault: dict[str, Any], emulator: Emulator) -> None:
    assert "error" in ask(emulator, "POST", "faults", 400, **fault)
    assert emulator.faults.all() == []


def test_calls_and_connections_are_counted(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(1))
    client.get(batch)
    client.get(batch)
    client.results(batch)
    client.list()
    calls = dict.fromkeys(ENDPOINTS, 0) | {"create": 1, "list": 1, "get": 2, "results": 1}
    assert emulator.counters == calls
    assert emulator.connections == 1
    assert ask(emulator, "GET", "counters") == {"calls": calls, "connections": 2}


def test_batches_are_listed_ended_and_archived(start_kept: Start) -> None:
    emulator, client = start_kept(processing_time=3600)
    first, second, third = (client.made(lines(1)) for _ in range(3))
    listed = ask(emulator, "GET", "batches")["batches"]
    assert [batch["id"] for batch in listed] == [third, second, first]
    assert ask(emulator, "POST", f"batches/{first}/end")["processing_status"] == "ended"
    assert ask(emulator, "POST", f"batches/{second}/archive")["archived_at"] is not None
    assert ask(emulator, "POST", "batches/end") == {"ended": 1}
    assert client.get(third).json()["processing_status"] == "ended"
    assert ask(emulator, "POST", "batches/nothing/end", 404) == {"error": "there is no nothing"}


def test_reset_over_http(start_kept: Start) -> None:
    emulator, client = start_kept()
    client.made(lines(1))
    ask(emulator, "POST", "faults", endpoint="get", action="status")
    ask(emulator, "POST", "reset")
    assert emulator.batches() == []
    assert emulator.faults.all() == []
    assert emulator.counters["create"] == 0


def test_another_route_is_not_found_and_the_routes_are_named(emulator: Emulator) -> None:
    error = ask(emulator, "GET", "nonsense", 404)["error"]
    assert "POST /_emulator/clock/advance" in error


def test_the_control_address_has_no_prefix(start: Start) -> None:
    emulator, _ = start(prefix="aws")
    assert emulator.control_url == f"http://127.0.0.1:{emulator.port}/_emulator"
    assert ask(emulator, "GET", "")["url"] == emulator.url


@pytest.mark.parametrize("body", [b"no json", b"[1]", b"x" * 1_000_001])
def test_a_control_body_that_is_no_object_is_refused(body: bytes, emulator: Emulator) -> None:
    response = requests.post(f"{emulator.control_url}/faults", data=body, timeout=30)
    assert response.status_code == 400


def test_nothing_but_the_loopback_address_listens(emulator: Emulator) -> None:
    with dial(emulator) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"
        sock.sendall(b"GET /_emulator/ HTTP/1.0\r\n\r\n")
        assert everything(sock).startswith(b"HTTP/1.1 200 OK\r\n")
