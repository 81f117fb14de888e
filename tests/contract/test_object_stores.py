"""A job in Google's object store, over its real protocol. What that needs is installed apart, as no other test does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from airflow_batches.demo.private_airflow import free_port
from airflow_batches.emulator import Emulator
from tests.contract.installations import installed, pip_target
from tests.contract.scripts import HERE, failed, outcome
from tests.eventually import wait_until

GOOGLE: Final = (
    "gcp-storage-emulator==2026.7.19",
    "gcsfs==2026.10.1",
    "decorator==5.3.1",
    "google-api-core==2.44.0",
    "google-auth==2.63.0",
    "google-auth-oauthlib==1.5.0",
    "google-cloud-core==2.8.0",
    "google-cloud-storage==3.17.1",
    "google-cloud-storage-control==1.17.0",
    "google-crc32c==1.9.0",
    "google-resumable-media==2.11.0",
    "grpc-google-iam-v1==0.14.6",
    "grpcio-status==1.85.3",
    "oauthlib==4.0.1",
    "proto-plus==1.29.0",
    "pyasn1==0.6.5",
    "pyasn1-modules==0.4.2",
    "requests-oauthlib==2.0.0",
)
"""The file system and the server, and what they need beyond the extra `test`."""


@contextmanager
def google_store(packages: str) -> Iterator[str]:
    """The URL of a server of Google's API with a bucket `lake`, which is gone at the end."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory", "--default-bucket", "lake"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    nothing = subprocess.DEVNULL
    with subprocess.Popen(command, env={"PYTHONPATH": packages}, stdout=nothing, stderr=nothing) as process:
        try:
            wait_until(lambda: answers(url))
            yield url
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        urlopen(url, timeout=5).close()
    except HTTPError:
        return True
    except URLError:
        return False
    return True


def test_a_job_lives_in_googles_store(shared: Path) -> None:
    packages = str(installed(shared, "gcsfs", pip_target("--no-deps", "--no-compile", *GOOGLE)))
    with google_store(packages) as url, Emulator(retry_after=0) as emulator:
        told = outcome(
            emulator, sys.executable, str(HERE / "store_checks.py"), PYTHONPATH=packages, BUCKET="gs://lake",
            FSSPEC_GS=json.dumps({"endpoint_url": url, "token": "anon", "project": "test"}),
            # Otherwise gcsfs asks for the kind of the bucket with gRPC, which the server does not speak.
            GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT="false",
        )  # fmt: skip
    assert not failed(told), failed(told)
    assert len(told["checks"]) == 4
