"""The API that a demo talks to: the emulator, or Anthropic's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.provider import CONNECTION_TYPE

KEY_VARIABLE: Final = "ANTHROPIC_API_KEY"
URL_VARIABLE: Final = "ANTHROPIC_BASE_URL"
EMULATED: Final[Mapping[str, Any]] = {
    "processing_time": 8.0,
    "incremental_counts": True,
    "errored_share": 0.15,
    "seed": 3,
}
"""Settings of the emulator; chosen: the deferral can be seen, the wait is short, and one line fails (seed 3)."""


@dataclass(frozen=True)
class Service:
    """The API that the demo uses. `poll_interval` is in seconds, `price` a text for the user."""

    name: str
    url: str
    price: str
    api_key: str = field(repr=False)
    live: bool
    poll_interval: float

    def connection(self) -> dict[str, str]:
        """Return the fields of an Airflow connection to it."""
        return {"conn_type": CONNECTION_TYPE, "host": self.url, "password": self.api_key}


@contextmanager
def emulated() -> Iterator[Service]:
    """Run the emulator during the block."""
    from airflow_batches.emulator import Emulator

    with Emulator(**EMULATED) as emulator:
        yield Service(
            name="The Message Batches API, emulated",
            url=emulator.url,
            price="free of charge",
            api_key=str(emulator.api_key),
            live=False,
            poll_interval=1.0,
        )


@contextmanager
def live(environment: Mapping[str, str]) -> Iterator[Service]:
    """Use Anthropic's API. Raises InvalidRequest when the environment has no key."""
    from airflow_batches.api.defaults import BASE_URL

    key = environment.get(KEY_VARIABLE)
    if not key:
        raise InvalidRequest(f"--live needs an API key in {KEY_VARIABLE}; without --live an emulator takes its place")
    yield Service(
        name="The Message Batches API",
        url=environment.get(URL_VARIABLE) or BASE_URL,
        price="eight short requests are billed, at most about 0.3 US cents in all",
        api_key=key,
        live=True,
        poll_interval=5.0,
    )
