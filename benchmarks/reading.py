"""Reading an object of a store: ours, and what fsspec offers.

    python -m benchmarks.reading                      # a store of 60 MB/s per connection, 50 ms before each answer
    python -m benchmarks.reading --speed 20 --delay 0.2 --requests 50000
    python -m benchmarks.reading --endpoint http://127.0.0.1:5000   # any S3 server, such as moto's

Each figure is the median run of several, each in a process of its own. "read" only hashes the bytes; "scan" is the
first reading of a submission. A request is about 2 kB: 150,000 are 303 MB.

- two handles: `submission.remote`, two parts of 16 MiB at the same time.
- background, readahead: fsspec's caches of these names, with their block size in MiB and the most blocks held.
- one handle: parts of 16 MiB without a cache. A thread reads one part ahead, as in all of these.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, Final

from benchmarks._measure import MEGABYTE, in_turns, measure, table
from benchmarks.submission import write_jsonl

BUCKET: Final = "reading"
KEY: Final = "requests.jsonl"
BLOCK: Final = 1 << 20
PART: Final = 16 << 20
RANGE: Final = re.compile(r"bytes=(\d+)-(\d+)")
READERS: Final[Mapping[str, Mapping[str, Any] | None]] = {
    "two handles": None,
    "background, 3 x 16": {"cache_type": "background", "block_size": PART, "cache_options": {"maxblocks": 3}},
    "background, 4 x 8": {"cache_type": "background", "block_size": 8 << 20, "cache_options": {"maxblocks": 4}},
    "readahead, 16": {"cache_type": "readahead", "block_size": PART},
    "one handle, 16": {"cache_type": "none"},
}


def read(reader: str, options: Mapping[str, Any], work: str) -> int:
    from airflow_batches.submission.background import read_ahead
    from airflow_batches.submission.scan import scan
    from airflow_batches.submission.source import Source

    size = PART if reader.startswith("one") else BLOCK
    with _opened(reader, options) as stream:

        class Stream(Source):
            name = reader

            def blocks(self) -> Iterator[bytes]:
                yield from read_ahead(iter(lambda: stream.read(size), b""))

        if work == "scan":
            return scan(Stream(), model=None, preflight="error", version="2026-10-21").sent.bytes
        digest, size_read = sha256(), 0
        for block in Stream().blocks():
            digest.update(block)
            size_read += len(block)
        return size_read


def _opened(reader: str, options: Mapping[str, Any]) -> IO[bytes]:
    import s3fs  # type: ignore[import-untyped]

    from airflow_batches.submission.remote import open_object

    fs = s3fs.S3FileSystem(skip_instance_cache=True, **options)
    cache = READERS[reader]
    opened: IO[bytes] = (
        open_object(fs, f"{BUCKET}/{KEY}") if cache is None else fs.open(f"{BUCKET}/{KEY}", "rb", **cache)
    )
    return opened


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=150_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each answer")
    parser.add_argument("--speed", type=float, default=60.0, help="MB/s of one connection")
    parser.add_argument("--endpoint", help="another S3 server; any key is used")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        _serve(Path(args.serve), args.delay, args.speed * MEGABYTE)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, KEY)
        write_jsonl(path, args.requests)
        with _store(path, args) as options:
            for work in ("read", "scan"):
                _compare(work, options, path.stat().st_size, args.repeat)


def _compare(work: str, options: Mapping[str, Any], size: int, repeat: int) -> None:
    imports = ["s3fs", "airflow_batches.submission.scan", "airflow_batches.submission.remote"]
    runs = in_turns(READERS, lambda reader: measure(read, reader, options, work, imports=imports), repeat)
    rows = [
        [
            reader,
            f"{run.seconds:.2f}",
            f"{size / MEGABYTE / run.seconds:.0f}",
            f"{run.cpu_seconds:.2f}",
            f"{run.growth / MEGABYTE:.0f}",
        ]
        for reader, run in runs.items()
    ]
    head = ["", "seconds", "MB/s", "CPU s", "RSS growth MB"]
    print(f"\n{work}: {size / MEGABYTE:,.0f} MB\n\n{table(head, rows)}", flush=True)


@contextmanager
def _store(path: Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if args.endpoint:
        import s3fs

        options = {"key": "key", "secret": "secret", "endpoint_url": args.endpoint}
        fs = s3fs.S3FileSystem(skip_instance_cache=True, **options)
        fs.makedirs(BUCKET, exist_ok=True)
        fs.put(str(path), f"{BUCKET}/{KEY}", chunksize=64 << 20)
        yield options
        return
    command = [sys.executable, "-m", "benchmarks.reading", "--serve", str(path)]
    command += ["--delay", str(args.delay), "--speed", str(args.speed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield {"key": "key", "secret": "secret", "endpoint_url": process.stdout.readline().strip()}
        finally:
            process.kill()


def _serve(path: Path, delay_s: float, bytes_per_s: float) -> None:
    """Serve one object as S3 does, each connection at its own speed."""
    size = path.stat().st_size

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._begin(200, size)

        def do_GET(self) -> None:
            found = RANGE.match(self.headers.get("range", ""))
            start, end = (int(found[1]), min(int(found[2]) + 1, size)) if found else (0, size)
            time.sleep(delay_s)
            self._begin(206, end - start, ("Content-Range", f"bytes {start}-{end - 1}/{size}"))
            began = time.monotonic()
            with path.open("rb") as file:
                file.seek(start)
                for offset in range(0, end - start, BLOCK):
                    self.wfile.write(file.read(min(BLOCK, end - start - offset)))
                    time.sleep(max(0.0, (offset + BLOCK) / bytes_per_s - (time.monotonic() - began)))

        def _begin(self, status: int, length: int, *headers: tuple[str, str]) -> None:
            self.send_response_only(status)
            dated = ("Last-Modified", "Sun, 29 Nov 2026 00:00:00 GMT")
            for name, value in (("Content-Length", str(length)), ("ETag", '"e"'), dated, *headers):
                self.send_header(name, value)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
