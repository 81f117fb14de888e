"""Send a source as the create's body, in blocks.

This is the second reading of the source. The last block is sent only after the whole body had the sha256 of the scan,
and after `before_last`. Until then the server has a fragment, and cannot create a batch from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from hashlib import sha256

from airflow_batches.submission.background import read_ahead
from airflow_batches.submission.envelope import body_blocks, plain_blocks
from airflow_batches.submission.errors import SourceChanged
from airflow_batches.submission.lines import line_runs, request_line
from airflow_batches.submission.scan import Scan
from airflow_batches.submission.source import Source


@dataclass(frozen=True)
class RequestsBody:
    """The body for `BatchesClient.create_streamed`.

    `len()` is its exact length in bytes. Each iteration reads the source again.

    :param source: the requests.
    :param scan: the result of the first reading.
    :param model: the default for requests that name none.
    :param each_block: is called before each block, and may raise to abort the upload.
    :param before_last: is called before the last block.
    """

    source: Source
    scan: Scan
    _: KW_ONLY
    model: str | None
    each_block: Callable[[], None] = lambda: None
    before_last: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return self.scan.sent.bytes

    def __iter__(self) -> Iterator[bytes]:
        digest = sha256()
        size = 0
        held = b""
        for block in read_ahead(self._blocks()):
            self.each_block()
            digest.update(block)
            size += len(block)
            if size > len(self):
                raise self._changed()
            if held:
                yield held
            held = block
        if digest.hexdigest() != self.scan.sent.sha256:
            raise self._changed()
        self.before_last()
        yield held

    def _blocks(self) -> Iterator[bytes]:
        if self.scan.plain:
            return plain_blocks(self.source.blocks())
        runs = line_runs(self.source.blocks())
        return body_blocks([request_line(raw, self.model).data for _, _, raw in run.numbered()] for run in runs)

    def _changed(self) -> SourceChanged:
        return SourceChanged(f"{self.source.name} changed while it was submitted; nothing was sent")
