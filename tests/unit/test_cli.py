"""The program's front door."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_batches import __version__
from airflow_batches.cli import COMMANDS, main

HEAVY = ("airflow", "requests", "pydantic", "fsspec")


def ended(*arguments: str) -> int:
    """The exit code, whether it is returned or argparse exits with it."""
    try:
        return main(arguments)
    except SystemExit as exit_:
        return int(exit_.code or 0)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(name, "--help") == 0
    assert f"airflow-batches {name}" in capsys.readouterr().out


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--version") == 0
    assert capsys.readouterr().out == f"airflow-batches {__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("demo", "--nonsense")])
def test_wrong_usage_is_said_with_exit_code_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*arguments) == 2
    assert "airflow-batches" in capsys.readouterr().err


def test_an_error_of_ours_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert ended("demo", "--live") == 1
    assert capsys.readouterr().err == (
        "airflow-batches demo: --live needs an API key in ANTHROPIC_API_KEY; "
        "without --live an emulator takes its place\n"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from airflow_batches.cli import main\n"
        f"try: main({arguments})\n"
        "except SystemExit: pass\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.split() == []
