"""`airflow-batches land`, from a shell."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_batches.api import BatchesClient, InvalidRequest
from airflow_batches.api.digest import ids_digest
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import LandingMismatch
from airflow_batches.landing.command import add_arguments, run
from tests.unit.landing.support import ended_batch, landed_lines, lines_of_the_api

ERASE_LINE = b"\x1b[2K"


@pytest.fixture
def environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", emulator.api_key)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", emulator.url)


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(arguments))


@pytest.mark.usefixtures("environment")
def test_it_lands_in_a_plain_file_and_prints_the_manifest(
    client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    batch_id = ended_batch(client)
    assert call(batch_id, "with space.jsonl", "--failed-path", str(tmp_path / "failed.jsonl")) == 0
    assert landed_lines(tmp_path / "with space.jsonl") == lines_of_the_api(client, batch_id)
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["batch_id"], manifest["lines"]) == (batch_id, 20)
    assert manifest["failed"]["uri"] == f"file://{tmp_path}/failed.jsonl"


@pytest.mark.usefixtures("environment")
def test_the_ids_can_be_proven(client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, 2)
    right, wrong = ids_digest(["r-0", "r-1"]), ids_digest(["r-0"])
    assert call(batch_id, str(tmp_path / "out.jsonl"), "--ids-digest", right) == 0
    with pytest.raises(LandingMismatch):
        call(batch_id, str(tmp_path / "out.jsonl"), "--ids-digest", wrong, "--overwrite")


def test_without_a_key_it_says_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(InvalidRequest, match="set ANTHROPIC_API_KEY"):
        call("msgbatch_01", str(tmp_path / "out.jsonl"))


@pytest.mark.usefixtures("environment")
def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="names a folder"):
        call("msgbatch_01", f"{tmp_path}/results/")


@pytest.mark.parametrize("fails", [False, True])
def test_a_terminal_shows_a_bar_that_disappears_at_the_end(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, fails: bool
) -> None:
    emulator.configure(answer_chars=200_000)
    batch_id = ended_batch(client, 200)
    emulator.fault(Fault(endpoint="results", action="stall", seconds=0.5, after_bytes=5_000_000))
    digest = ids_digest(["r-0"] if fails else [f"r-{number}" for number in range(200)])
    script = (
        "import argparse; from airflow_batches.landing import command\n"
        "parser = argparse.ArgumentParser(); command.add_arguments(parser)\n"
        f"given = ['{batch_id}', '{tmp_path}/out.jsonl', '--base-url', '{emulator.url}', '--ids-digest', '{digest}']\n"
        "command.run(parser.parse_args(given), 0.01)"
    )
    terminal, theirs = pty.openpty()
    environment = {**os.environ, "ANTHROPIC_API_KEY": emulator.api_key, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=theirs, stdout=subprocess.DEVNULL, env=environment
    )
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(terminal, 65_536):
            seen += part
    except OSError:  # how Linux ends a terminal whose other side is closed
        pass
    finally:
        os.close(terminal)
    assert process.wait(60) == fails
    assert b"200 of 200 lines (100%)" in seen
    bar, _, after = seen.rpartition(ERASE_LINE)
    assert "━".encode() in bar
    assert "━".encode() not in after
    assert (b"LandingMismatch" in after) == fails


SMALL_DISK = 'mount -t tmpfs -o size=1m tmpfs "$1"'
SMALL_FILES = "ulimit -f 1000"
"""Used where no file system can be mounted: the same call fails in the same way."""
LANDING = """
"$2" -m airflow_batches.cli land "$3" "$1/out.jsonl"
echo "exit status $?, left behind: $(ls -A "$1")"
"""


@pytest.mark.usefixtures("environment")
def test_a_full_disk_is_reported_and_nothing_is_left_on_it(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(answer_chars=100_000)
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    may_mount = shutil.which("unshare") and subprocess.run([*namespace, "true"], check=False).returncode == 0
    before, limit = (namespace, SMALL_DISK) if may_mount else ([], SMALL_FILES)
    arguments = [str(tmp_path), sys.executable, ended_batch(client, 30)]
    command = [*before, "sh", "-ec", f"{limit}\nset +e{LANDING}", "sh", *arguments]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert re.search(rf"writing file://{tmp_path}/out.jsonl failed: OSError: \[Errno (28|27)\] ", said.stderr)
    assert "Traceback" not in said.stderr
    assert said.stdout == "exit status 1, left behind: \n"
