"""The requests of a job whose rows are a table.

| a row                                                  | its request                                             |
|--------------------------------------------------------|---------------------------------------------------------|
| has no prompt                                          | none                                                    |
| has params that an earlier row has too, with `dedupe`  | the earlier row's                                       |
| has params that were answered before                   | the next number, which is not sent                      |
| any other                                              | the next one: custom_id `<job id>-<number>`, from 1     |

Rules: one reading makes the requests, and stores of each row what is kept of it with the number of its request
(`rows_object`). Memory does not grow with the rows but for 24 to 40 bytes for each distinct request with `dedupe`, and
with `key` for 16 bytes for each row at the end (some 50 for a moment if a key repeats).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain, compress, repeat
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.submission.errors import EmptySource
from airflow_batches.tables.distinct import DIGEST_BYTES, DistinctDigests
from airflow_batches.tables.params import EncodedParams, ParamsEncoder
from airflow_batches.tables.prompt import OnEmptyPrompt, RowPrompt
from airflow_batches.tables.rendering import objects
from airflow_batches.tables.row_batch import RowBatch
from airflow_batches.tables.row_columns import require_columns
from airflow_batches.tables.rows import RowSource
from airflow_batches.tables.rows_object import STORED

log = logging.getLogger(__name__)

NO_REQUEST: Final = bytes(DIGEST_BYTES)
"""Stands in the fingerprint for a row without a request."""
_Given = npt.NDArray[np.int64]
WriteRows = Callable[[pa.RecordBatch], None]
Answered = Callable[[Sequence[tuple[int, bytes]]], Collection[int]]
"""Takes the numbers and digests of new requests, and returns the numbers of those that are answered already."""


class RowRequests:
    """Requests made of rows. Each reading makes the same ones if rows and prompt are the same.

    After a reading: `rows`, `distinct` (requests, numbered from 1), `reused` (those that were answered before),
    `shared` (rows that another row's request answers), `skipped` (rows without a request), and `fingerprint` (of the
    params and keys of all rows, in order).

    :param rows: the rows, or what `RowSource.of` accepts.
    :param prompt: makes the prompt of a row, or what `RowPrompt.of` accepts.
    :param key: the columns that identify a row.
    :param keep: the columns that the result has of each row: "key", "all", or a list, which `key` comes before. By
        default the key; without a key all.
    :param model: the model of requests that name none.
    :param defaults: params for every request.
    :param output_format: `output_config.format` of every request, as `OutputType.format()` makes it.
    :param dedupe: send equal params once.
    :param on_empty_prompt: what to do with a row whose prompt is empty: "null" (it has no request), or "error".
    :raises InvalidRequest: the arguments do not fit each other.

    Example::

        requests = RowRequests("s3://lake/reviews/", "Sentiment of: ${text}", key="id", model="claude-opus-4-8")
        with RowsWriter(location) as writer:
            file.writelines(requests.requests("job-1", writer.write))
        print(requests.rows, requests.distinct, requests.shared, requests.skipped)
    """

    def __init__(
        self,
        rows: Any,
        prompt: Any,
        *,
        key: str | Sequence[str] = (),
        keep: Literal["key", "all"] | Sequence[str] | None = None,
        model: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        output_format: Mapping[str, Any] | None = None,
        dedupe: bool = True,
        on_empty_prompt: OnEmptyPrompt = "null",
    ) -> None:
        if on_empty_prompt not in {"null", "error"}:
            raise InvalidRequest(f"on_empty_prompt must be 'null' or 'error', not {on_empty_prompt!r}")
        self._source = RowSource.of(rows)
        self._prompt = RowPrompt.of(prompt)
        self._key = [key] if isinstance(key, str) else list(key)
        self._keep = keep
        self._params = ParamsEncoder(model, defaults or {}, output_format)
        self._dedupe = dedupe
        self._on_empty = on_empty_prompt
        self.rows = self.distinct = self.reused = self.shared = self.skipped = 0
        self.fingerprint = ""

    @property
    def name(self) -> str:
        """The source's name for people."""
        return self._source.name

    @property
    def kept(self) -> pa.Schema:
        """The columns that are kept of each row, in their order.

        :raises InvalidRequest: a column does not exist, or has the name of the column of request numbers.
        """
        schema = self._source.schema
        names = self._kept_names(schema.names)
        require_columns(names, schema.names, "key or keep", self.name)
        for name in STORED:
            if name in names:
                raise InvalidRequest(f"the column {name!r} cannot be kept: the job has one of this name. Rename it")
        return pa.schema([schema.field(name) for name in names])

    def requests(
        self, job_id: str, write_rows: WriteRows | None = None, answered: Answered | None = None
    ) -> Iterator[bytes]:
        """Yield the requests as JSONL, several in one block.

        :param job_id: the beginning of each custom_id.
        :param write_rows: stores the kept columns with those of `rows_object`; None: they are not stored.
        :param answered: knows requests that were answered before, which are not yielded; None: there are none.
        :raises InvalidRequest: a column does not exist (before anything is stored), or a row's prompt cannot be made
            (`PromptError`).
        :raises EmptySource: there are no rows.
        :raises SourceError: the rows cannot be read, or files changed meanwhile.
        """
        asked, kept = self._asked(), self.kept.names
        self.rows = self.distinct = self.reused = self.shared = self.skipped = 0
        numbers = _Numbers(dedupe=self._dedupe)
        keys = _Keys(self._key)
        fingerprint = sha256()
        for batch in self._source.batches(list(dict.fromkeys([*asked, *kept]))):
            keys.add(batch)
            params = self._params.encode(batch, self._prompt.make(_only(batch, asked), self._on_empty))
            digests = b"".join([digest or NO_REQUEST for digest in params.digests])
            fingerprint.update(digests)
            given = numbers.give(params.digests)
            if write_rows is not None:
                write_rows(_with_requests(batch.data.select(kept), given, digests))
            known = self._known(params, given, answered)
            yield b"".join(self._lines(params, given, known, b'{"custom_id":"%b-' % job_id.encode()))
        if not self.rows:
            raise EmptySource(self.name)
        keys.warn()
        fingerprint.update(keys.digest())
        self.fingerprint = fingerprint.hexdigest()[: 2 * DIGEST_BYTES]

    def _known(self, params: EncodedParams, given: _Given, answered: Answered | None) -> Collection[int]:
        """Return the numbers of new requests that were answered before."""
        if answered is None:
            return ()
        numbered = zip(given.tolist(), params.digests, strict=True)
        new = {number: digest for number, digest in numbered if number and digest and number > self.distinct}
        return answered([*new.items()])

    def _lines(self, params: EncodedParams, given: _Given, known: Collection[int], head: bytes) -> Iterable[bytes]:
        """Return the pieces of the lines of requests that are new and to be sent, and count all."""
        most = np.maximum.accumulate(np.append(self.distinct, given))
        new = given > most[:-1]
        skipped = int((given == 0).sum())
        self.rows += len(given)
        self.skipped += skipped
        self.shared += len(given) - skipped - int(new.sum())
        self.reused += len(known)
        self.distinct = int(most[-1])
        if known:
            new &= np.isin(given, list(known), invert=True)
        middle, tail = b'","params":' + params.head, params.tail + b"}\n"
        names = map((head.replace(b"%", b"%%") + b"%d").__mod__, given[new].tolist())
        bodies = filter(None, compress(params.bodies, new.tolist()))
        return chain.from_iterable(zip(names, repeat(middle), bodies, repeat(tail), strict=False))

    def _asked(self) -> Sequence[str]:
        """Return the columns that the prompt needs."""
        there = self._source.schema.names
        if self._prompt.columns is None:
            return self._source.wanted or there
        require_columns(self._prompt.columns, there, "the prompt", self.name)
        return self._prompt.columns

    def _kept_names(self, there: Sequence[str]) -> list[str]:
        if self._keep == "all" or (self._keep is None and not self._key):
            return list(dict.fromkeys([*self._key, *there]))
        if self._keep is None or self._keep == "key":
            if not self._key:
                raise InvalidRequest("keep='key' needs key: the columns that identify a row")
            return list(dict.fromkeys(self._key))
        if isinstance(self._keep, str):
            raise InvalidRequest(f"keep must be 'key', 'all' or a list of columns, not {self._keep!r}")
        return list(dict.fromkeys([*self._key, *self._keep]))


class _Numbers:
    """Gives numbers to requests."""

    def __init__(self, *, dedupe: bool) -> None:
        self._distinct = DistinctDigests() if dedupe else None
        self._count = 0

    def give(self, digests: Sequence[bytes | None]) -> _Given:
        """Return the number of each row's request; 0 for a row without one."""
        given = np.zeros(len(digests), np.int64)
        given[np.fromiter(map(bool, digests), bool, len(digests))] = self._number([*filter(None, digests)])
        return given

    def _number(self, digests: Sequence[bytes]) -> Sequence[int]:
        if self._distinct is not None:
            return self._distinct.number(digests)
        self._count += len(digests)
        return range(self._count - len(digests) + 1, self._count + 1)


class _Keys:
    """The keys of all rows. Says that a key repeats, which is allowed."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._sha256 = sha256()
        self._hashes: list[tuple[RowBatch, npt.NDArray[np.int64]]] = []

    def digest(self) -> bytes:
        """Return the digest of all keys, in order."""
        return self._sha256.digest()

    def add(self, batch: RowBatch) -> None:
        """Add the keys of a batch."""
        if not self._columns:
            return
        columns = [objects(batch.data.column(name)) for name in self._columns]
        keys = [*map(repr, columns[0] if len(columns) == 1 else zip(*columns, strict=True))]
        # One by one, not as a batch: the same rows may come in other batches.
        self._sha256.update(("\n".join(keys) + "\n").encode(errors="surrogatepass"))
        # A hash of eight bytes is enough for a warning.
        hashes = np.fromiter(map(hash, keys), np.int64, len(keys))
        self._hashes.append((RowBatch(None, batch.file, batch.first), hashes))

    def warn(self) -> None:
        """Name the first row that has the key of an earlier row, if there is one."""
        hashes = self._joined()
        hashes.sort()
        if (hashes[1:] != hashes[:-1]).all():
            return
        repeated = np.ones(len(hashes), bool)
        repeated[np.unique(self._joined(), return_index=True)[1]] = False
        for batch, each in self._hashes:
            here, repeated = repeated[: len(each)], repeated[len(each) :]
            if here.any():
                log.warning(
                    "%s has the same %s as an earlier row. Both rows are answered; a join over it finds both",
                    batch.place(int(here.argmax())), " and ".join(map(repr, self._columns)),
                )  # fmt: skip
                return

    def _joined(self) -> npt.NDArray[np.int64]:
        return np.concatenate([np.empty(0, np.int64), *(each for _, each in self._hashes)])


def _only(batch: RowBatch, columns: Sequence[str]) -> RowBatch:
    return RowBatch(batch.data.select(list(columns)), batch.file, batch.first)


def _with_requests(data: pa.RecordBatch, numbers: _Given, digests: bytes) -> pa.RecordBatch:
    """Append the columns of request numbers and digests.

    Not with `pa.array` or a function of `pyarrow.compute`, for which pyarrow imports pandas: 40 MB.
    """
    known = pa.py_buffer(np.packbits(numbers > 0, bitorder="little"))
    columns = [
        pa.Array.from_buffers(pa.int64(), len(numbers), [known, pa.py_buffer(numbers)]),
        pa.Array.from_buffers(pa.binary(DIGEST_BYTES), len(numbers), [known, pa.py_buffer(digests)]),
    ]
    schema = pa.schema([*data.schema, *(pa.field(name, each.type) for name, each in zip(STORED, columns, strict=True))])
    return pa.RecordBatch.from_arrays([*data.columns, *columns], schema=schema)
