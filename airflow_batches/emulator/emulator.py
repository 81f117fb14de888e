"""`Emulator`: the API on a port of localhost, and the methods that a test needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from airflow_batches.emulator import api, control, lifecycle
from airflow_batches.emulator.addresses import LOOPBACK, Address
from airflow_batches.emulator.call import State
from airflow_batches.emulator.clock import Clock
from airflow_batches.emulator.faults import Fault
from airflow_batches.emulator.journal import Journal
from airflow_batches.emulator.lifecycle import StoredBatch
from airflow_batches.emulator.objects import batch_object
from airflow_batches.emulator.plans import Plan, Plans
from airflow_batches.emulator.rule_files import only_answers
from airflow_batches.emulator.rulebook import RuleBook
from airflow_batches.emulator.rules import Answer, Rule
from airflow_batches.emulator.server import Server
from airflow_batches.emulator.settings import DEFAULT_KEY, Settings
from airflow_batches.emulator.store import FolderStorage, MemoryStorage, Storage, Store
from airflow_batches.emulator.wire import Body, Connection, Head, Response


class Emulator:
    """A Message Batches API on localhost that serves from construction to `close()`.

    Use it in a `with` block. It answers as the API does (docs and recorded answers of 2025 and 2026); batches end as
    soon as `processing_time` has passed on the emulator's clock, at once by default.

        with Emulator(processing_time=3600) as emulator:
            with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
                batch = client.create(requests)
                emulator.fault(Fault(endpoint="get", action="status", status=529))
                emulator.clock.advance(3600)
                assert client.get(batch.id).processing_status == "ended"

    :param port: port to listen on; 0 takes a free one.
    :param host: address or name of this machine to listen on; by default only this machine can connect. Any other
        one needs an `api_key` of your own, which the control address then asks for too.
    :param folder: folder in which batches survive a restart, used by one emulator at a time; None keeps them in memory.
    :param rules: what happens to which request; the first rule that applies decides.
    :param answers: rules that have nothing but an answer: what the model answers to which request, where the rules and
        the shares of the settings leave it to the model.
    :param answer: the answer to all other requests: text, an object (JSON for `output_config.format`), content blocks,
        the API's own message or error object, or a function of the request that returns one of them, or None for the
        emulator's own answer.
    :param prefix: path before `/v1/…`, as some platforms have one; none by default.
    :param values: any field of `Settings`. Times are in seconds, or timedeltas.
    :raises OSError: when the port is taken, or another emulator uses the folder.
    :raises ValueError: for a setting's value that is not allowed, or a host that needs another key.
    :raises TypeError: for an unknown setting.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = LOOPBACK,
        folder: str | PathLike[str] | None = None,
        prefix: str = "",
        rules: Iterable[Rule] = (),
        answers: Iterable[Rule] = (),
        answer: Answer | None = None,
        **values: Any,
    ) -> None:
        settings = Settings(**values)
        address = _checked_address(host, port, settings)
        self._initial = settings.as_dict()
        self._initial_rules = tuple(rules)
        self._initial_answers = (*answers, *(() if answer is None else (Rule(answer=answer),)))
        prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        storage: Storage = MemoryStorage() if folder is None else FolderStorage(Path(folder))
        try:
            self.clock = Clock(storage.offset(), storage.save_offset)
            self._state = State(settings, self.clock, Store(storage), Plans(), prefix)
            self.set_rules(self._initial_rules)
            self.set_answers(self._initial_answers)
            self._server = Server(address, self._answer)
        except BaseException:
            storage.close()
            raise
        self.port = self._server.port
        self.address = replace(address, port=self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server and close every connection; a second call does nothing."""
        self._server.close()
        self._state.store.close()

    @property
    def url(self) -> str:
        """The base URL for a client, prefix included."""
        return self.address.origin + self._state.prefix

    @property
    def control_url(self) -> str:
        """The URL under which another process controls this emulator (see `control`)."""
        return self.address.origin + control.ROOT

    @property
    def api_key(self) -> str:
        """A key that is accepted."""
        return self.settings.api_key or "sk-ant-any"

    @property
    def settings(self) -> Settings:
        """The settings; an assigned field applies from the next call on.

        :raises ValueError: on assignment of a value that is not allowed.
        """
        return self._state.settings

    def configure(self, **changes: Any) -> None:
        """Change several settings at once.

        :param changes: fields of `Settings`, applied from the next call on.
        :raises ValueError: for an unknown setting or a value that is not allowed; then nothing is changed.
        """
        self.settings.change(changes)

    @property
    def rules(self) -> RuleBook:
        """The rules, and how many requests each has applied to."""
        return self._state.rules

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Replace all rules, from the next create on.

        :param rules: the new rules, in order; empty removes all.
        :raises TypeError: for a value that is not a Rule.
        """
        self._state.rules = RuleBook(tuple(rules))

    @property
    def answers(self) -> RuleBook:
        """The user's answers, and how many requests each has answered."""
        return self._state.answers

    def set_answers(self, answers: Iterable[Rule]) -> None:
        """Replace all answers, from the next create on.

        :param answers: rules with an answer, in order; empty restores the emulator's own answers.
        :raises TypeError: for a value that is not a Rule.
        :raises ValueError: for a rule without an answer, or one that says more than that.
        """
        book = RuleBook(tuple(answers), "answer")
        for place, rule in enumerate(book.rules):
            if fault := only_answers(rule):
                raise ValueError(f"{book.name(place)}: {fault}")
        self._state.answers = book

    @property
    def counters(self) -> Mapping[str, int]:
        """The calls per endpoint so far, including those that a fault struck."""
        return self._state.counted()

    @property
    def connections(self) -> int:
        """The number of TCP connections accepted so far."""
        return self._server.accepted

    @property
    def requests(self) -> Journal:
        """The calls received so far, credentials redacted; the newest ones if there were many."""
        return self._state.journal

    def batches(self) -> list[dict[str, Any]]:
        """Return the batch objects of all workspaces, newest first."""
        with self._state.store.changing():
            return [self._object(record) for record in self._state.store.all()]

    def fault(self, fault: Fault) -> Plan:
        """Add a fault.

        :param fault: what fails, where and how often.
        :return: the plan, whose `struck` counts the calls that it hit, and which can be deleted.
        """
        return self._state.plans.add(fault)

    @property
    def faults(self) -> Plans:
        """All fault plans."""
        return self._state.plans

    def end(self, batch_id: str) -> dict[str, Any]:
        """End a batch now; a batch that has ended stays unchanged.

        :return: the batch object.
        :raises KeyError: when no batch has this id.
        """
        with self._state.store.changing():
            record = self._record(batch_id)
            self._end(record)
            return self._object(record)

    def end_all(self) -> int:
        """End every batch that has not ended, and return how many there were."""
        with self._state.store.changing():
            return sum(self._end(record) for record in self._state.store.all())

    def archive(self, batch_id: str) -> dict[str, Any]:
        """End a batch if it runs, and remove its results, as the API does after 29 days (docs).

        :return: the batch object.
        :raises KeyError: when no batch has this id.
        """
        with self._state.store.changing():
            record = self._record(batch_id)
            self._end(record)
            record.archive_at = min(record.archive_at, self.clock.micros())
            self._state.store.save(record)
            return self._object(record)

    def reset(self) -> None:
        """Remove all batches, faults, counts and received calls, and restore clock, rules, answers and settings."""
        self._state.store.clear()
        self._state.plans.clear()
        self._state.forget_calls()
        self._state.cache.clear()
        self.set_rules(self._initial_rules)
        self.set_answers(self._initial_answers)
        self.settings.change(self._initial)
        self.clock.reset()

    def _answer(self, connection: Connection, head: Head, body: Body) -> Response:
        if control.concerns(head.path):
            return control.answer(self, head, body)
        return api.answer(self._state, connection, head, body)

    def _record(self, batch_id: str) -> StoredBatch:
        record = self._state.store.find(batch_id)
        if record is None:
            raise KeyError(batch_id)
        return record

    def _end(self, record: StoredBatch) -> bool:
        store, now = self._state.store, self.clock.micros()
        if record.status(now) == "ended":
            return False
        lifecycle.end(record, store.lines(record), now)
        store.save(record)
        return True

    def _object(self, record: StoredBatch) -> dict[str, Any]:
        base = self.settings.results_base or self.url
        encoded = batch_object(record, self._state.store, self.clock.micros(), base)
        decoded: dict[str, Any] = msgspec.json.decode(encoded)
        return decoded


def _checked_address(host: str, port: int, settings: Settings) -> Address:
    """Resolve the address. Raises ValueError where a key that everyone knows would be all that protects it."""
    address = Address.resolve(host, port)
    if not address.is_loopback and settings.api_key in (None, DEFAULT_KEY):
        raise ValueError(
            f"Other machines can connect to the host {host!r}, and everyone knows the default key. "
            "Choose an api_key of your own (--api-key)."
        )
    return address
