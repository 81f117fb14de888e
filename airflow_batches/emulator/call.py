"""One API call, and the state that all calls share."""

from __future__ import annotations

import mmap
import threading
from collections import Counter
from dataclasses import dataclass, field

from airflow_batches.emulator.cache import PromptCache
from airflow_batches.emulator.clock import Clock
from airflow_batches.emulator.journal import Journal
from airflow_batches.emulator.limits import RateWindow
from airflow_batches.emulator.plans import Plans
from airflow_batches.emulator.rulebook import RuleBook
from airflow_batches.emulator.settings import ENDPOINTS, Settings
from airflow_batches.emulator.store import Store
from airflow_batches.emulator.wire import Body, Connection, Head


@dataclass(slots=True)
class State:
    """All state of one emulator. `prefix` precedes every API path."""

    settings: Settings
    clock: Clock
    store: Store
    plans: Plans
    prefix: str = ""
    rules: RuleBook = field(default_factory=RuleBook)
    answers: RuleBook = field(default_factory=RuleBook)
    cache: PromptCache = field(default_factory=PromptCache)
    journal: Journal = field(init=False)
    window: RateWindow = field(default_factory=RateWindow)
    reads: Counter[str] = field(default_factory=Counter)
    _calls: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.journal = Journal(self.settings)

    def count(self, endpoint: str) -> None:
        with self._lock:
            self._calls[endpoint] += 1

    def counted(self) -> dict[str, int]:
        """Return the calls per endpoint so far, including those that a fault struck."""
        with self._lock:
            return {endpoint: self._calls[endpoint] for endpoint in ENDPOINTS}

    def next_read(self, batch_id: str) -> int:
        """Count a read of a batch's results, and return its number, from 1."""
        with self._lock:
            self.reads[batch_id] += 1
            return self.reads[batch_id]

    def forget_calls(self) -> None:
        with self._lock:
            self._calls.clear()
            self.reads.clear()
        self.journal.clear()


@dataclass(slots=True)
class Call:
    """A call whose endpoint is known.

    `batch_id` is the id in the path (of a model, for the endpoint `model`), or that of the batch that a create has
    made, and else empty. `workspace` is empty until the key is accepted. `payload` is the decoded body, once it has
    been read.
    """

    state: State
    connection: Connection
    head: Head
    body: Body
    endpoint: str
    batch_id: str
    request_id: str
    workspace: str = ""
    payload: bytes | mmap.mmap = b""

    @property
    def settings(self) -> Settings:
        return self.state.settings

    @property
    def base(self) -> str:
        """Base of results_url: the host that the client used, unless `results_base` is set."""
        if self.settings.results_base is not None:
            return self.settings.results_base
        address, port = self.connection.sock.getsockname()[:2]
        return f"http://{self.head.headers.get('host') or f'{address}:{port}'}{self.state.prefix}"
