"""The program: flags, what it prints, how it stops."""

from __future__ import annotations

import argparse
import json
import re
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic, sleep

import pytest
import requests

from airflow_batches.emulator import Emulator
from airflow_batches.emulator.command import add_arguments, options, run
from airflow_batches.emulator.config import option_names
from airflow_batches.hooks import MessageBatchesHook
from tests.unit.emulator.client import Client, lines
from tests.unit.emulator.processes import ANY_PORT, COMMAND, MODULE, Program


def parsed(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(flags)


@pytest.mark.parametrize("command", [MODULE, COMMAND], ids=["module", "command"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_ways_to_start_it_print_the_same_serve_and_stop_cleanly(command: tuple[str, ...], number: int) -> None:
    with Program("--api-key", "sk-ant-mine", "--prefix", "p", command=command) as program:
        assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+/p", program.first_line)
        program.api_key = "sk-ant-mine"
        client = Client(program)
        assert client.create(lines(3)).json()["request_counts"]["succeeded"] == 3
        client.close()
        control = program.url.removesuffix("/p") + "/_emulator"
        assert requests.get(f"{control}/clock", timeout=30).status_code == 200
        connection = {"conn_type": "anthropicbatches", "host": program.url, "password": "sk-ant-mine"}
        code, out, err = program.stop(number)
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            "key to use: sk-ant-mine",
            f"control at {control}/",
            f"export AIRFLOW_CONN_ANTHROPIC_DEFAULT='{json.dumps(connection)}'",
        ]


def test_the_printed_line_pasted_into_a_shell_connects_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-ant-it's-$HOME"
    with Program("--api-key", key, "--prefix", "p", command=COMMAND) as program:
        line = next(text for text in program.lines(3) if text.startswith("export "))
        script = f'{line}\nprintf %s "$AIRFLOW_CONN_ANTHROPIC_DEFAULT"'
        pasted = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
        monkeypatch.setenv("AIRFLOW_CONN_ANTHROPIC_DEFAULT", pasted)
        assert MessageBatchesHook().test_connection() == (True, f"{program.url} accepts the key.")


def test_settings_are_flags() -> None:
    with Program("--processing-time", "3600", "--denied", "delete,cancel", "--incremental-counts") as program:
        client = Client(program)
        assert client.create(lines(1)).json()["processing_status"] == "in_progress"
        assert client.delete("msgbatch_x").status_code == 403
        settings = requests.get(f"{program.url}/_emulator/settings", timeout=30).json()
        assert settings["incremental_counts"] is True
        client.close()


def test_calls_can_be_logged() -> None:
    with Program("--log") as program:
        client = Client(program)
        client.get("msgbatch_x")
        client.close()
        assert "GET /v1/messages/batches/msgbatch_x -> 404" in program.stop(signal.SIGTERM)[2]


def test_without_flags_the_program_differs_from_the_library_in_three_things() -> None:
    assert options(parsed()) == {"port": 18_478, "log": False, "processing_time": 5.0}


def test_a_batch_takes_some_seconds_in_the_program() -> None:
    with Program("--processing-time", "5") as program:
        client = Client(program)
        batch = client.create(lines(1)).json()
        assert batch["processing_status"] == "in_progress"
        requests.post(f"{program.url}/_emulator/clock/advance", json={"seconds": 5}, timeout=30)
        assert client.get(batch["id"]).json()["processing_status"] == "ended"
        client.close()


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (["--api-key", "none"], "api_key", None),
        (["--answer-chars", "1700"], "answer_chars", 1700),
        (["--answer-chars", "none"], "answer_chars", None),
        (["--models", "a,b"], "models", ("a", "b")),
        (["--workspaces", '{"sk-a": "wrkspc_a"}'], "workspaces", {"sk-a": "wrkspc_a"}),
        (["--cancel-after-ended", "400"], "cancel_after_ended", 400),
        (["--gzip"], "gzip", True),
        (["--no-gzip"], "gzip", False),
        (["--seed", "3"], "seed", 3),
        (["--order", "reversed"], "order", "reversed"),
    ],
    ids=str,
)
def test_a_flag_becomes_a_setting(flags: list[str], name: str, value: object) -> None:
    assert options(parsed(*flags))[name] == value


@pytest.mark.parametrize(
    "flags",
    [
        ["--order", "random"],
        ["--answer-chars", "many"],
        ["--workspaces", "x"],
        ["--unknown"],
        ["--port", "99999"],
        ["--port", "-1"],
        ["--port", "http"],
    ],
    ids=str,
)
def test_a_wrong_flag_ends_with_usage(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parsed(*flags)
    assert exit_.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_start_that_fails_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator(folder=tmp_path) as running:
        for flags, why in (
            (["--port", str(running.port)], "The port is taken, perhaps by another emulator; choose another one with"),
            ([*ANY_PORT, "--folder", str(tmp_path)], "Another emulator uses the folder; choose another one with"),
            ([*ANY_PORT, "--errored-share", "2"], "The setting errored_share must be between 0 and 1, not 2.0."),
            ([*ANY_PORT, "--host", "no.such.host.invalid"], "The host 'no.such.host.invalid' has no address: "),
            ([*ANY_PORT, "--host", "0.0.0.0"], "Other machines can connect to the host '0.0.0.0', and everyone knows"),
            ([*ANY_PORT, "--host", "::", "--api-key", "none"], "Other machines can connect to the host '::', and"),
            ([*ANY_PORT, "--config", str(tmp_path / "none.toml")], "[Errno 2] No such file or directory: "),
        ):
            assert run(parsed(*flags)) == 1
            out, err = capsys.readouterr()
            assert out == ""
            assert err.startswith(f"The emulator cannot start. {why}")


def test_the_signal_handlers_are_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    main, deadline = threading.get_ident(), monotonic() + 60

    def interrupt() -> None:
        while signal.getsignal(signal.SIGTERM) is before[1] and monotonic() < deadline:
            sleep(0.01)
        signal.pthread_kill(main, signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run(parsed(*ANY_PORT)) == 0
    thread.join()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_help_describes_every_option(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["emulator", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_module("airflow_batches.emulator", run_name="__main__")
    shown = capsys.readouterr().out
    assert all("--" + name.replace("_", "-") in shown for name in [*option_names(), "config"])
    text = " ".join(shown.split())
    for default in ("(default: 18478)", "from create to ended (default: 5.0)", "a newline (default: off)"):
        assert default in text


def test_importing_the_package_loads_nothing() -> None:
    script = (
        "import sys, airflow_batches; before = set(sys.modules); import airflow_batches.emulator\n"
        "print(sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "airflow_batches.emulator'" in loaded
    assert not {"msgspec", "airflow_batches.emulator.emulator", "socket", "requests"} & set(
        re.findall(r"'([^']+)'", loaded)
    )
