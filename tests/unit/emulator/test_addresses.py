"""Where an emulator listens: this machine by default, others only with a key of one's choice."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import requests

from airflow_batches.emulator import Emulator
from airflow_batches.emulator.addresses import Address
from tests.unit.emulator.client import Client, dial, lines

KEY = "sk-ant-mine"


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.parametrize(
    ("host", "origin", "is_loopback", "is_any"),
    [
        ("127.0.0.1", "http://127.0.0.1:80", True, False),
        ("127.0.0.2", "http://127.0.0.2:80", True, False),
        ("localhost", "http://localhost:80", True, False),
        ("::1", "http://[::1]:80", True, False),
        ("0.0.0.0", "http://127.0.0.1:80", False, True),
        ("::", "http://[::1]:80", False, True),
        ("192.0.2.7", "http://192.0.2.7:80", False, False),
        ("2001:db8::7", "http://[2001:db8::7]:80", False, False),
    ],
)
def test_an_address_knows_its_url_and_who_can_connect(host: str, origin: str, is_loopback: bool, is_any: bool) -> None:
    address = Address.resolve(host, 80)
    assert (address.origin, address.is_loopback, address.is_any) == (origin, is_loopback, is_any)


def test_only_this_machine_can_connect_by_default(emulator: Emulator) -> None:
    with dial(emulator) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"
    assert emulator.address.is_loopback


@pytest.mark.parametrize("values", [{}, {"api_key": "sk-ant-emulator"}, {"api_key": None}], ids=str)
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7"])
def test_another_host_needs_a_key_that_not_everyone_knows(host: str, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"connect to the host '{host}'.*Choose an api_key of your own \(--api-key\)"):
        Emulator(host=host, **values)


def test_others_connect_with_the_key_and_control_it_with_the_key() -> None:
    with Emulator(host="0.0.0.0", api_key=KEY) as emulator:
        client = Client(emulator)
        assert client.create(lines(1)).status_code == 200
        client.close()
        for headers, status in (
            ({}, 401),
            ({"x-api-key": "sk-ant-emulator"}, 401),
            ({"authorization": "Bearer wrong"}, 401),
            ({"x-api-key": KEY}, 200),
            ({"authorization": f"Bearer {KEY}"}, 200),
        ):
            answer = requests.get(f"{emulator.control_url}/counters", headers=headers, timeout=30)
            assert answer.status_code == status
            assert KEY not in answer.text
        refused = requests.post(f"{emulator.control_url}/reset", timeout=30)
        assert refused.json()["error"].startswith("Other machines can connect to this emulator, so its control address")
        assert len(emulator.batches()) == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", *(["::1"] if has_ipv6() else [])])
def test_a_loopback_host_needs_neither(host: str) -> None:
    with Emulator(host=host) as emulator:
        client = Client(emulator)
        batch = client.made(lines(1))
        assert client.get(batch).json()["results_url"].startswith(emulator.url)
        client.close()
        assert requests.get(emulator.control_url, timeout=30).status_code == 200


def test_a_host_without_an_address_is_an_error() -> None:
    with pytest.raises(OSError, match=r"The host 'no\.such\.host\.invalid' has no address: "):
        Emulator(host="no.such.host.invalid")
