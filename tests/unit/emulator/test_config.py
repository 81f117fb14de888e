"""The `--config` file: the options of the program, under the flags and over the defaults."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_batches.emulator.command import add_arguments, options
from tests.unit.emulator.processes import Program

TOML = """
port = 4000
log = true
processing_time = 30
api_key = "none"
denied = ["delete"]
workspaces = {"sk-ant-other" = "wrkspc_other"}
"""
JSON = """
{"port": 4000, "log": true, "processing_time": 30, "api_key": null, "denied": ["delete"],
"workspaces": {"sk-ant-other": "wrkspc_other"}}
"""


def chosen(*flags: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options(parser.parse_args(flags))


@pytest.mark.parametrize(("suffix", "text"), [("toml", TOML), ("json", JSON)])
def test_a_file_has_the_options_under_the_flags_and_over_the_defaults(suffix: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / f"emulator.{suffix}"
    file.write_text(text)
    expected = {
        "port": 4000,
        "log": True,
        "processing_time": 30,
        "api_key": None,
        "denied": ["delete"],
        "workspaces": {"sk-ant-other": "wrkspc_other"},
    }
    assert chosen("--config", str(file)) == expected
    flags = ("--processing-time", "1", "--no-gzip", "--port", "5000")
    assert chosen("--config", str(file), *flags) == expected | {"processing_time": 1.0, "gzip": False, "port": 5000}


def test_the_program_runs_with_a_file(tmp_path: Path) -> None:
    file = tmp_path / "emulator.toml"
    file.write_text('prefix = "p"\nincremental_counts = true\ndenied = ["delete"]\n')
    with Program("--config", str(file)) as program:
        assert program.url.endswith("/p")
        control = program.url.removesuffix("/p") + "/_emulator"
        settings = requests.get(f"{control}/settings", timeout=30).json()
        assert (settings["incremental_counts"], settings["denied"]) == (True, ["delete"])


def test_a_file_may_name_a_file_of_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.jsonl").write_text('{"custom_id": "a*", "outcome": "errored"}\n')
    (tmp_path / "emulator.toml").write_text(f'rules = "{tmp_path}/rules.jsonl"\n')
    with Program("--config", str(tmp_path / "emulator.toml")) as program:
        (rule,) = requests.get(f"{program.url}/_emulator/rules", timeout=30).json()["rules"]
        assert (rule["custom_id"], rule["outcome"]) == ("a*", "errored")


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("c.yaml", "port: 1", r"c\.yaml must end in \.toml or \.json\."),
        ("c.toml", "port = ", r"c\.toml cannot be parsed: "),
        ("c.json", "{", r"c\.json cannot be parsed: "),
        ("c.json", "[1]", r"c\.json must be an object with options\."),
        (
            "c.toml",
            "prot = 1",
            r"c\.toml has no option prot; known are host, port, folder, prefix, rules, answers, log, api_key, ",
        ),
        ("c.toml", 'port = "http"', r"c\.toml: port must be of type int, not 'http'\."),
        ("c.toml", "port = true", r"c\.toml: port must be of type int, not True\."),
        ("c.toml", "folder = 3", r"c\.toml: folder must be of type str, not 3\."),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(name: str, text: str, error: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=error):
        chosen("--config", str(tmp_path / name))


def test_a_file_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        chosen("--config", str(tmp_path / "none.toml"))
