"""`/_emulator/`: everything a test can do in the process can be done over HTTP."""

from __future__ import annotations

import inspect
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from airflow_batches.emulator import Emulator, Fault, control
from airflow_batches.emulator.actions import ACTIONS
from airflow_batches.emulator.settings import ENDPOINTS
from tests.unit.emulator.client import lines
from tests.unit.emulator.conftest import Start


def ask(emulator: Emulator, method: str, path: str, expected: int = 200, /, **body: Any) -> dict[str, Any]:
    """Make a control call, which needs no key."""
    response = requests.request(method, f"{emulator.control_url}/{path}", json=body or None, timeout=30)
    assert response.status_code == expected, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_the_overview_describes_every_route(emulator: Emulator) -> None:
    overview = ask(emulator, "GET", "")
    assert (overview["url"], overview["api_key"]) == (emulator.url, emulator.api_key)
    routes = {f"{route['method']} {route['path']}": route for route in overview["routes"]}
    assert set(routes) == {f"{method} /_emulator/{path}" for method, path in control._ROUTES}
    assert all(route["text"].endswith(".") for route in routes.values())
    assert routes["POST /_emulator/clock/advance"]["fields"] == {"seconds": "how far; 0 or more."}
    assert list(routes["GET /_emulator/requests"]["fields"]) == ["endpoint", "batch_id", "custom_id"]
    assert requests.get(emulator.control_url, timeout=30).json() == overview


def test_every_field_of_a_route_is_described(emulator: Emulator) -> None:
    routes = ask(emulator, "GET", "")["routes"]
    for route, handler in zip(routes, control._ROUTES.values(), strict=True):
        parameters = [*inspect.signature(handler).parameters.values()][1 + route["path"].count("{id}") :]
        named = [each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
        assert list(route["fields"]) == named


def test_the_overview_describes_every_fault_and_setting(emulator: Emulator) -> None:
    overview = ask(emulator, "GET", "")
    assert overview["faults"]["endpoints"] == [*ENDPOINTS, "*"]
    assert overview["faults"]["actions"] == ACTIONS
    fields = overview["faults"]["fields"]
    assert set(fields) == set(Fault.__struct_fields__)
    assert fields["times"] == {
        "type": "integer or null",
        "default": 1,
        "text": "number of calls that fail, 1 by default; None: all of them until the plan is deleted.",
    }
    assert "default" not in fields["action"]
    assert set(overview["settings"]) == set(emulator.settings.as_dict())
    assert all(about["text"] for about in (*fields.values(), *overview["settings"].values()))
    assert overview["settings"]["order"]["type"] == "reversed or shuffled or submitted"
    assert overview["settings"]["processing_time"]["default"] == 0


def test_the_clock_is_told_and_moved(emulator: Emulator) -> None:
    before = datetime.fromisoformat(ask(emulator, "GET", "clock")["now"])
    moved = ask(emulator, "POST", "clock/advance", seconds=3600)
    assert moved["offset"] == 3600
    assert datetime.fromisoformat(moved["now"]) - before >= timedelta(hours=1)
    assert emulator.clock.now() - before >= timedelta(hours=1)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"seconds": -1}, "The clock moves forward only, by at most 100 years, and not by -1.0 s."),
        ({"seconds": "soon"}, "The field seconds is wrong: Expected `float`, got `str`."),
        ({"minutes": 5}, "POST /_emulator/clock/advance takes seconds, not minutes."),
        ({}, "POST /_emulator/clock/advance needs seconds."),
    ],
    ids=str,
)
def test_a_clock_that_cannot_be_moved_so_is_refused(body: dict[str, Any], sentence: str, emulator: Emulator) -> None:
    assert ask(emulator, "POST", "clock/advance", 400, **body) == {"error": sentence}
    assert emulator.clock.offset == 0


def test_settings_are_told_and_changed(emulator: Emulator) -> None:
    assert ask(emulator, "GET", "settings") == emulator.settings.as_dict() | {"denied": [], "models": []}
    changed = ask(emulator, "PATCH", "settings", processing_time=60, denied=["delete"], answer_chars=None)
    assert (changed["processing_time"], changed["denied"]) == (60, ["delete"])
    assert (emulator.settings.processing_time, emulator.settings.denied) == (60, ("delete",))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"processing_tiem": 1}, "No setting is named 'processing_tiem'; known are api_key, "),
        ({"processing_time": -1}, "The setting processing_time must be 0 or more, not -1.0."),
        ({"errored_share": 2}, "The setting errored_share must be between 0 and 1, not 2.0."),
        ({"chunk_bytes": 0}, "The setting chunk_bytes must be 1 or more, not 0."),
        ({"order": "random"}, "The setting order cannot have this value: Invalid enum value 'random'."),
        ({"denied": ["everything"]}, "The setting denied must be among create, list, get"),
        ({"gzip": "yes"}, "The setting gzip cannot have this value: Expected `bool`, got `str`."),
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
    assert ask(emulator, "GET", "faults/fault_1", 404) == {"error": "No fault has the id 'fault_1'."}
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
        ({"endpoint": "nowhere", "action": "cut"}, ", ".join((*ENDPOINTS, "*"))),
        ({"endpoint": "get", "action": "explode"}, ", ".join(ACTIONS)),
    ],
)
def test_a_wrong_fault_is_refused_with_what_is_known(fault: dict[str, Any], known: str, emulator: Emulator) -> None:
    assert known in ask(emulator, "POST", "faults", 400, **fault)["error"]


@pytest.mark.parametrize("fault", [{}, {"endpoint": "get"}, {"endpoint": "get", "action": "cut", "tmies": 1}], ids=str)
def test_a_fault_with_missing_or_unknown_members_is_refused(fault: dict[str, Any], emulator: Emulator) -> None:
    assert ask(emulator, "POST", "faults", 400, **fault)["error"].startswith("This is not a fault: Object ")
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
    assert ask(emulator, "POST", "batches/nothing/end", 404) == {"error": "No batch has the id 'nothing'."}


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
    assert error.startswith("There is no route GET /_emulator/nonsense; known are GET /_emulator/, ")
    assert "POST /_emulator/clock/advance" in error


def test_a_route_is_not_taken_with_another_method(emulator: Emulator) -> None:
    refused = ask(emulator, "POST", "settings", 405, seed=3)
    assert refused == {"error": "/_emulator/settings takes GET and PATCH, not POST."}
    assert emulator.settings.seed == 0


def test_a_get_changes_nothing_whatever_it_is_sent(start: Start) -> None:
    emulator, client = start(processing_time=60)
    batch = client.made(lines(1))
    emulator.fault(Fault(endpoint="delete", action="status"))
    before = (emulator.settings.as_dict(), emulator.batches(), emulator.clock.offset, emulator.counters)
    for method, path in control._ROUTES:
        url = f"{emulator.control_url}/{path.replace('{id}', batch)}"
        requests.get(url, json={"seed": 5, "seconds": 5}, timeout=30)
        requests.get(url, params={"seed": 5}, timeout=30)
        assert method in ("GET", "POST", "PATCH", "PUT", "DELETE")
    assert (emulator.settings.as_dict(), emulator.batches(), emulator.clock.offset, emulator.counters) == before
    assert len(emulator.faults.all()) == 1


def test_a_field_that_a_get_does_not_have_is_refused(emulator: Emulator) -> None:
    refused = ask(emulator, "GET", "settings?seed=5", 400)
    assert refused == {"error": "GET /_emulator/settings takes no fields, not seed."}
    refused = ask(emulator, "GET", "requests?batch=x", 400)
    assert refused == {"error": "GET /_emulator/requests takes endpoint, batch_id, custom_id, not batch."}


def test_the_control_address_has_no_prefix(start: Start) -> None:
    emulator, _ = start(prefix="aws")
    assert emulator.control_url == f"http://127.0.0.1:{emulator.port}/_emulator"
    assert ask(emulator, "GET", "")["url"] == emulator.url


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"no json", 400, "The body is not a JSON object: JSON is malformed: invalid character (byte 4)."),
        (b"[1]", 400, "The body is not a JSON object: Expected `object`, got `array`."),
        (b"x" * 1_000_001, 413, "The body has more than 1,000,000 bytes."),
    ],
    ids=range(3),
)
def test_a_control_body_that_is_no_object_is_refused(
    body: bytes, status: int, sentence: str, emulator: Emulator
) -> None:
    response = requests.post(f"{emulator.control_url}/faults", data=body, timeout=30)
    assert (response.status_code, response.json()) == (status, {"error": sentence})


def test_received_calls_can_be_forgotten(start: Start) -> None:
    emulator, client = start()
    client.list()
    assert ask(emulator, "DELETE", "requests") == {"calls": [], "dropped": {"calls": 0, "bytes": 0}}
    assert len(emulator.requests) == 0


def test_a_web_page_cannot_control_an_emulator_on_the_same_machine(emulator: Emulator) -> None:
    response = requests.post(
        f"{emulator.control_url}/end_all", headers={"Origin": "https://example.org"}, data="{}", timeout=30
    )
    assert response.status_code == 403
    assert "web pages" in response.json()["error"]
