"""What reaches the processes of a private Airflow, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from airflow_batches.demo.environment import private_environment

HOME = Path("/nowhere/home")
DAGS = Path("/nowhere/home/dags")
CALLER = {
    "PATH": "/usr/bin",
    "AIRFLOW_HOME": "/home/me/airflow",
    "AIRFLOW_CONFIG": "/home/me/airflow.cfg",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "True",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production/airflow",
    "AIRFLOW_CONN_WAREHOUSE": "postgresql://user:secret@production",
    "AIRFLOW_VAR_TOKEN": "secret",
    "ANTHROPIC_API_KEY": "sk-ant-mine",
    "NO_PROXY": "intranet",
}


def environment(caller: dict[str, str] = CALLER, **options: object) -> dict[str, str]:
    return private_environment(caller, HOME, port=8123, dags=DAGS, **options)  # type: ignore[arg-type]


def test_nothing_of_the_callers_airflow_gets_in() -> None:
    private = set(environment().items())
    assert not private & {(name, value) for name, value in CALLER.items() if name.startswith(("AIRFLOW", "ANTHROPIC"))}
    assert not {"AIRFLOW_CONFIG", "AIRFLOW_CONN_WAREHOUSE", "AIRFLOW_VAR_TOKEN", "ANTHROPIC_API_KEY"} & set(
        environment()
    )


def test_the_rest_of_the_callers_environment_stays() -> None:
    assert environment()["PATH"] == "/usr/bin"


def test_the_home_and_the_dags_are_its_own() -> None:
    assert environment()["AIRFLOW_HOME"] == str(HOME)
    assert environment()["AIRFLOW__CORE__DAGS_FOLDER"] == str(DAGS)


def test_every_address_is_on_the_loopback() -> None:
    env = environment()
    urls = [value for value in env.values() if value.startswith("http")]
    assert len(urls) == 2
    assert {urlsplit(url).hostname for url in urls} == {env["AIRFLOW__API__HOST"]} == {"127.0.0.1"}


def test_calls_to_the_loopback_pass_by_the_proxy_as_well_as_what_already_did() -> None:
    assert environment()["NO_PROXY"] == environment()["no_proxy"] == "intranet,127.0.0.1,localhost"
    assert environment({})["NO_PROXY"] == "127.0.0.1,localhost"


def test_keys_are_new_for_every_airflow() -> None:
    names = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET")
    assert all(environment()[name] != environment()[name] for name in names)


def test_the_database_is_sqlite_in_the_home_unless_one_is_given() -> None:
    url = "sqlite:////somewhere/airflow.db"
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment()
    assert environment(database_url=url)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == url
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC" not in environment(database_url=url)


def test_psycopg_serves_airflows_asynchronous_engine_too() -> None:
    url = "postgresql+psycopg://127.0.0.1:5433/airflow"
    names = ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC")
    assert {environment(database_url=url)[name] for name in names} == {url}


def test_connections_are_given_as_json() -> None:
    fields = {"conn_type": "anthropicbatches", "host": "http://127.0.0.1:9", "extra": {"model": "claude-haiku-4-5"}}
    variable = environment(connections={"anthropic_default": fields})["AIRFLOW_CONN_ANTHROPIC_DEFAULT"]
    assert json.loads(variable) == fields


def test_settings_of_the_caller_win() -> None:
    assert environment(settings={"CORE__PARALLELISM": "16"})["AIRFLOW__CORE__PARALLELISM"] == "16"
