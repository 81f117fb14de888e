"""`Emulator`: the API on a port of the loopback address, and the handles a test needs."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from airflow_batches.emulator import api, control, lifecycle
from airflow_batches.emulator.call import State
from airflow_batches.emulator.clock import Clock
from airflow_batches.emulator.faults import Fault
from airflow_batches.emulator.lifecycle import Record
from airflow_batches.emulator.objects import batch_object
from airflow_batches.emulator.plans import Plan, Plans
from airflow_batches.emulator.server import HOST, Server
from airflow_batches.emulator.settings import Settings
from airflow_batches.emulator.store import FolderStorage, MemoryStorage, Storage, Store
from airflow_batches.emulator.wire import Body, Connection, Head, Response


class Emulator:
    """A Message Batches API that serves from construction to `close()`; best used in a `with`.

    :param port: on 127.0.0.1; 0: a free one.
    :param folder: where batches are kept and found again; None: in memory.
    :param prefix: path before `/v1/…`, as some platforms have one.
    :param values: any field of `Settings`.

    Raises OSError when the port is taken, ValueError or TypeError for settings it cannot take.
    """

    def __init__(
        self, port: int = 0, *, folder: str | PathLike[str] | None = None, prefix: str = "", **values: Any
    ) -> None:
        settings = Settings(**values)
        self._initial = settings.as_dict()
        prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        storage: Storage = MemoryStorage() if folder is None else FolderStorage(Path(folder))
        try:
            self.clock = Clock(storage.offset(), storage.save_offset)
            self._state = State(settings, self.clock, Store(storage), Plans(), prefix)
            self._server = Server(port, self._answer)
        except BaseException:
            storage.close()
            raise
        self.port = self._server.port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server and every connection to it; a second call does nothing."""
        self._server.close()
        self._state.store.close()

    @property
    def url(self) -> str:
        """The base URL to give to a client, prefix included."""
        return self._origin + self._state.prefix

    @property
    def control_url(self) -> str:
        """Where the same handles are reached over HTTP (see `control`)."""
        return self._origin + control.ROOT

    @property
    def api_key(self) -> str:
        """A key that is accepted."""
        return self.settings.api_key or "sk-ant-any"

    @property
    def settings(self) -> Settings:
        """How it behaves; a field that is assigned counts from the next call on."""
        return self._state.settings

    def configure(self, **changes: Any) -> None:
        """Changes several settings at once. Raises ValueError, and then changes none."""
        self.settings.change(changes)

    @property
    def counters(self) -> Mapping[str, int]:
        """Calls per endpoint so far, those a fault struck among them."""
        return self._state.counted()

    @property
    def connections(self) -> int:
        """TCP connections accepted so far."""
        return self._server.accepted

    def batches(self) -> list[dict[str, Any]]:
        """Every batch object of every workspace, newest first."""
        with self._state.store.changing():
            return [self._object(record) for record in self._state.store.all()]

    def fault(self, fault: Fault) -> Plan:
        """Puts a fault to work. The plan tells how often it `struck`, and can be deleted."""
        return self._state.plans.add(fault)

    @property
    def faults(self) -> Plans:
        """All fault plans."""
        return self._state.plans

    def end(self, batch_id: str) -> dict[str, Any]:
        """Ends a batch now; one that has ended stays as it is. Raises KeyError when there is none."""
        with self._state.store.changing():
            record = self._record(batch_id)
            self._end(record)
            return self._object(record)

    def end_all(self) -> int:
        """Ends every batch that has not ended, and returns how many those were."""
        with self._state.store.changing():
            return sum(self._end(record) for record in self._state.store.all())

    def archive(self, batch_id: str) -> dict[str, Any]:
        """Ends a batch if need be and takes its results away, as 29 days do. Raises KeyError."""
        with self._state.store.changing():
            record = self._record(batch_id)
            self._end(record)
            record.archive_at = min(record.archive_at, self.clock.micros())
            self._state.store.save(record)
            return self._object(record)

    def reset(self) -> None:
        """Back to the start: no batches, faults or counts, the clock at real time, the settings as given."""
        self._state.store.clear()
        self._state.plans.clear()
        self._state.forget_calls()
        self.settings.change(self._initial)
        self.clock.reset()

    @property
    def _origin(self) -> str:
        return f"http://{HOST}:{self.port}"

    def _answer(self, connection: Connection, head: Head, body: Body) -> Response:
        if control.concerns(head.path):
            return control.answer(self, head, body)
        return api.answer(self._state, connection, head, body)

    def _record(self, batch_id: str) -> Record:
        record = self._state.store.find(batch_id)
        if record is None:
            raise KeyError(batch_id)
        return record

    def _end(self, record: Record) -> bool:
        store, now = self._state.store, self.clock.micros()
        if record.status(now) == "ended":
            return False
        lifecycle.end(record, store.lines(record), now)
        store.save(record)
        return True

    def _object(self, record: Record) -> dict[str, Any]:
        base = self.settings.results_base or self.url
        encoded = batch_object(record, self._state.store, self.clock.micros(), base)
        decoded: dict[str, Any] = msgspec.json.decode(encoded)
        return decoded
