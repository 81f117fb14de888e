"""The API that a demo talks to: the emulator, or Anthropic's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.provider import CONNECTION_TYPE

KEY_VARIABLE: Final = "ANTHROPIC_API_KEY"
URL_VARIABLE: Final = "ANTHROPIC_BASE_URL"
EMULATED: Final[Mapping[str, Any]] = {"processing_time": 6.0, "incremental_counts": True}
"""Settings of the emulator; chosen: the deferral can be seen, and the wait is short."""
SLOW_S: Final = 60.0
"""Seconds that each batch of a slow run takes; chosen: time to read the report, open the page, and see bars move."""
LATE: Final = "Tunis"
"""The city of the example whose batch of a slow run ends later than the one beside it, so that its bar moves twice."""
LATE_S: Final = 20.0
"""By so many seconds; chosen: longer than a poll, and than the task needs to take up what ended before."""
FAILING: Final = "Accra"
"""The city of the example whose request fails when it is sent first; chosen: it is not in the canary."""
ANSWERS: Final[Mapping[str, str]] = {
    "Lima": "Lima spreads along a desert coast under a soft grey sky, and eats better than almost any other capital.",
    "Oslo": "Oslo sits between a fjord and a forest, and both begin where the tram ends.",
    "Cairo": "Cairo is a thousand minarets on the Nile, with the pyramids at the end of a busy street.",
    "Quito": "Quito is a long, narrow city at 2,850 metres, between volcanoes, almost on the equator.",
    "Seoul": "Seoul puts palaces, mountains and all-night markets within one metro ride of each other.",
    "Tunis": "Tunis joins a white medina, French avenues and the ruins of Carthage by the sea.",
    "Riga": "Riga is a Baltic port with more Art Nouveau houses than it has bridges and church spires.",
    "Accra": "Accra is a lively Atlantic capital of markets, music and fishing boats in bright colours.",
}
"""What the emulated model answers to the requests of the example DAG, by the city that they name."""


@dataclass(frozen=True)
class Service:
    """The API that the demo uses.

    :param price: a text for the user.
    :param slow_down: makes further batches take `SLOW_S`; None: they would be billed.
    """

    name: str
    url: str
    price: str
    api_key: str = field(repr=False)
    live: bool
    slow_down: Callable[[], None] | None = None

    def connection(self) -> dict[str, str]:
        """Return the fields of an Airflow connection to it."""
        return {"conn_type": CONNECTION_TYPE, "host": self.url, "password": self.api_key}


@contextmanager
def emulated() -> Iterator[Service]:
    """Run the emulator during the block."""
    from airflow_batches.emulator import Emulator, Rule

    fails_once = Rule(text=FAILING, outcome="errored", error_type="overloaded_error", times_per_id=1)
    answers = [Rule(text=city, answer=answer) for city, answer in ANSWERS.items()]
    with Emulator(rules=[fails_once], answers=answers, **EMULATED) as emulator:

        def slow_down() -> None:
            emulator.configure(processing_time=SLOW_S)
            emulator.set_rules([fails_once, Rule(text=LATE, delay=LATE_S)])

        yield Service(
            name="The Message Batches API, emulated",
            url=emulator.url,
            price="free of charge",
            api_key=str(emulator.api_key),
            live=False,
            slow_down=slow_down,
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
        price="eight short requests are billed, at most about 0.4 US cents in all",
        api_key=key,
        live=True,
    )
