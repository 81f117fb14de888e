"""A batch's results, recorded once from the emulator, then served from memory in a process of its own.

The emulator makes its answers while it streams them, slower than a file is served; a floor measured against it would
flatter whatever is measured beside it. Here the server only sends.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator

CHUNK: Final = 65_536
ID_PREFIX: Final = "row"


def record(lines: int, line_bytes: int = 2_080) -> tuple[str, bytes]:
    """The id and the results of a batch of that many lines, each of about that many bytes."""
    params = {"model": "claude-haiku-4-5", "max_tokens": 4_096, "messages": [{"role": "user", "content": "Hi"}]}
    requests = [{"custom_id": f"{ID_PREFIX}-{number}", "params": params} for number in range(lines)]
    with (
        Emulator(answer_chars=line_bytes - 580) as emulator,
        BatchesClient(emulator.api_key, base_url=emulator.url) as client,
    ):
        batch = client.create(requests)
        with client.open_results(batch.id) as response:
            return batch.id, response.content


@contextmanager
def served(batches: Mapping[str, bytes]) -> Iterator[str]:
    """The base URL of a server, in another process, that knows these batches, by id, which have ended well."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_serve, args=(theirs, batches), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(told: Any, batches: Mapping[str, bytes]) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(batches))
    told.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def _handler(batches: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    lines = {batch_id: len(body.splitlines()) for batch_id, body in batches.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as servers have it; with it a small answer waits for the client's delayed ACK

        def do_GET(self) -> None:
            results = self.path.endswith("/results")
            batch_id = self.path.removesuffix("/results").rpartition("/")[2]
            self.send_response(200)
            self.send_header("content-type", "application/x-jsonl" if results else "application/json")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self._send(memoryview(batches[batch_id] if results else self._batch(batch_id)))

        def _send(self, data: memoryview) -> None:
            for start in range(0, len(data), CHUNK):
                chunk = data[start : start + CHUNK]
                self.wfile.write(b"%x\r\n" % len(chunk))
                self.wfile.write(chunk)
                self.wfile.write(b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        def _batch(self, batch_id: str) -> bytes:
            counts = {"processing": 0, "succeeded": lines[batch_id], "errored": 0, "canceled": 0, "expired": 0}
            url = f"http://{self.headers['host']}/v1/messages/batches/{batch_id}/results"
            at = "2026-11-01T00:00:00.000000+00:00"
            batch = {"id": batch_id, "type": "message_batch", "processing_status": "ended", "request_counts": counts}
            times = {"ended_at": at, "created_at": at, "expires_at": at, "archived_at": None}
            return json.dumps({**batch, **times, "cancel_initiated_at": None, "results_url": url}).encode()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
            """Says nothing."""

    return Handler
