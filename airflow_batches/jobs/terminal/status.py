"""`airflow-batches status`: how a job stands, from its folder alone. It calls no API and takes no lease."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from airflow_batches.jobs.errors import JobRefused
from airflow_batches.jobs.files import read_manifest
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.ledger import FOLDER, LEDGER, PUBLISHED, JobLedger
from airflow_batches.jobs.planning import ROWS
from airflow_batches.jobs.store import LedgerFile
from airflow_batches.jobs.terminal.options import add_epilog
from airflow_batches.jobs.terminal.summary import status_lines, status_numbers
from airflow_batches.landing.command import local_uri

EPILOG: Final = """\
examples:
  airflow-batches status answers/
  airflow-batches status s3://lake/answers/ --json

The numbers are those of the last step of the job's runner, also while it runs.
No key is needed, and the job is not disturbed.

exit codes:
  0  shown
  1  there is no job in the folder, or its ledger cannot be read
  2  wrong usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run` reads."""
    parser.add_argument("path", metavar="PATH", help="the job's folder, or a URI such as s3://bucket/folder/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_epilog(parser, EPILOG)


def run(args: argparse.Namespace) -> int:
    """Print how the job stands.

    :param args: the parsed arguments of `add_arguments`.
    :return: the exit code 0.
    :raises JobRefused: there is no job in the folder, or no manifest of a job that is published.
    :raises LedgerError: the ledger cannot be read.
    """
    folder = JobFolder(local_uri(args.path))
    ledger, now = load_ledger(folder), datetime.now(UTC)
    rows = _published_rows(folder, ledger)
    if args.json:
        numbers = msgspec.json.encode(status_numbers(folder.name, ledger, now, rows))
        sys.stdout.buffer.write(msgspec.json.format(numbers) + b"\n")
    else:
        sys.stdout.writelines(f"{text}\n" for text in status_lines(folder.name, ledger, now, rows))
    return 0


def load_ledger(folder: JobFolder) -> JobLedger:
    """Return the stored ledger of a job.

    :raises JobRefused: there is none.
    """
    saved = LedgerFile(folder.ledger).load()
    if saved is None:
        raise JobRefused(f"{folder.name} holds no job: there is no {FOLDER}/{LEDGER}. Check the path")
    return saved.ledger


def _published_rows(folder: JobFolder, ledger: JobLedger) -> Mapping[str, int]:
    """Return the manifest's numbers of rows; empty before it is published, and for other jobs."""
    if ledger.state != PUBLISHED or ROWS not in ledger.plan.settings:
        return {}
    return read_manifest(folder).rows
