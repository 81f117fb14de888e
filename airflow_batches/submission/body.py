"""Build the create's body, `{"requests":[…]}`, in blocks.

The scan and the upload use the same functions. The upload reads the source a second time. It sends the last block only
after the whole body had the sha256 of the scan, and after `before_last`. Until then the server has a fragment, and
cannot create a batch from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from airflow_batches.submission.ahead import ahead
from airflow_batches.submission.errors import SourceChanged
from airflow_batches.submission.lines import line_runs, request_line

if TYPE_CHECKING:
    from airflow_batches.submission.scan import Scan
    from airflow_batches.submission.source import Source

HEAD: Final = b'{"requests":['
TAIL: Final = b"]}"
ENVELOPE_BYTES: Final = len(HEAD + TAIL)


def body_blocks(runs: Iterable[Sequence[bytes]]) -> Iterator[bytes]:
    """Yield the body of these requests: one block for each run of them, and the end.

    :param runs: lists of requests, each request as JSON.
    """
    lead = HEAD
    for run in runs:
        if run:
            yield lead + b",".join(run)
            lead = b","
    yield (HEAD if lead is HEAD else b"") + TAIL


def plain_blocks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same body from JSONL whose lines are sent unchanged, without splitting it."""
    held = HEAD
    for block in blocks:
        yield held
        held = block.replace(b"\n", b",")
    yield held.removesuffix(b",") + TAIL


class RequestsBody:
    """The body for `BatchesClient.create_streamed`.

    `len()` is its exact length in bytes. Each iteration reads the source again.

    :param source: the requests.
    :param scan: the result of the first reading.
    :param model: the default for requests that name none.
    :param each_block: is called before each block, and may raise to abort the upload.
    :param before_last: is called before the last block.
    """

    def __init__(
        self,
        source: Source,
        scan: Scan,
        *,
        model: str | None,
        each_block: Callable[[], None] = lambda: None,
        before_last: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._scan = scan
        self._model = model
        self._each_block = each_block
        self._before_last = before_last

    def __len__(self) -> int:
        return self._scan.size

    def __iter__(self) -> Iterator[bytes]:
        digest = sha256()
        size = 0
        held = b""
        for block in ahead(self._blocks()):
            self._each_block()
            digest.update(block)
            size += len(block)
            if size > self._scan.size:
                raise self._changed()
            if held:
                yield held
            held = block
        if digest.hexdigest() != self._scan.sha256:
            raise self._changed()
        self._before_last()
        yield held

    def _blocks(self) -> Iterator[bytes]:
        if self._scan.plain:
            return plain_blocks(self._source.blocks())
        runs = line_runs(self._source.blocks())
        return body_blocks([request_line(raw, self._model).data for _, _, raw in run.numbered()] for run in runs)

    def _changed(self) -> SourceChanged:
        return SourceChanged(f"{self._source.name} changed while it was submitted; nothing was sent")
