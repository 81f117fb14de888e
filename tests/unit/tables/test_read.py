"""Results that are read back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from airflow_batches.api import BatchesClient, InvalidRequest
from airflow_batches.emulator import Emulator
from airflow_batches.jobs import run_job
from airflow_batches.landing import LandingRefused, Location, land
from airflow_batches.submission import SourceError
from airflow_batches.tables import Answer, read_results
from airflow_batches.tables.answers import AnswerSpool
from airflow_batches.tables.errors import NotPublished
from airflow_batches.tables.output_type import OutputType
from airflow_batches.tables.parts import write_parts
from tests.servers import S3Server, s3_server
from tests.unit.tables.lines import JOB, errored, succeeded
from tests.unit.tables.test_parts import OUTCOME, REVIEW, Review

PROMPTS = [f"Is {number} prime?" for number in range(30)]
DEFAULTS = {"max_tokens": 10}


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchesClient]:
    with BatchesClient(emulator.api_key, base_url=emulator.url) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "job"


def publish(folder: Path, format_name: str = "parquet", output: Any = None, **kept: Any) -> None:
    """Write three rows as a job over rows does: an answer, no request, a failure."""
    kept = kept or {"id": [1, 2, 3], "tags": [["a"], None, []]}
    rows = pa.record_batch({**kept, "_request": pa.array([1, None, 2], pa.int64())})
    with AnswerSpool(2, output and OutputType.of(output)) as spool:
        spool.add([1, 2], [succeeded(1, REVIEW), errored(2)])
        written = write_parts(
            [rows], spool, lambda name: Location.parse(f"file://{folder}/{name}"),
            kept=rows.schema.remove(rows.num_columns - 1), job_id=JOB, format_name=format_name,
        )  # fmt: skip
    results = [{"uri": part.uri, "format": part.format, "lines": 3, "bytes": 1, "sha256": ""} for part in written.parts]
    (folder / "manifest.json").write_text(json.dumps({"results": results}))


def job(client: BatchesClient, folder: Path, **options: Any) -> None:
    """Run a job over plain prompts."""
    run_job(client, PROMPTS, folder, model="claude-haiku-4-5", defaults=DEFAULTS, poll_interval=0.01, **options)


@pytest.mark.parametrize("name", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_a_jobs_answers_are_read_in_every_format(client: BatchesClient, folder: Path, name: str) -> None:
    job(client, folder, format=name)
    results = read_results(folder)
    table = results.to_arrow()
    assert table.column_names == ["custom_id", "answer", *OUTCOME]
    assert table.num_rows == len({*table["custom_id"].to_pylist()}) == 30
    assert [answer.value for answer in results] == table["answer"].to_pylist()
    first = next(iter(results))
    assert (first.succeeded, first.row) == (True, {"custom_id": table["custom_id"][0].as_py()})
    assert isinstance(first.value, str)
    assert first.output_tokens == table["_output_tokens"][0].as_py()


def test_a_folder_is_read_where_it_was_moved(client: BatchesClient, folder: Path, tmp_path: Path) -> None:
    job(client, folder)
    folder.rename(tmp_path / "moved")
    assert read_results(f"file://{tmp_path}/moved/").to_arrow().num_rows == 30


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out.parquet", "no-suffix"])
def test_a_landed_object_is_read(emulator: Emulator, client: BatchesClient, tmp_path: Path, name: str) -> None:
    emulator.configure(errored_share=0.3)
    params = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Hi"}], **DEFAULTS}
    batch = client.create([{"custom_id": f"r-{number}", "params": params} for number in range(20)])
    land(client, batch.id, f"file://{tmp_path}/{name}")
    answers = [*read_results(tmp_path / name)]
    assert {answer.row["custom_id"] for answer in answers} == {f"r-{number}" for number in range(20)}
    assert {answer.status for answer in answers} == {"succeeded", "errored"}
    failure = next(answer for answer in answers if not answer.succeeded)
    assert (failure.value, failure.error is not None) == (None, True)


def test_answers_of_a_job_become_objects_of_a_type(emulator: Emulator, client: BatchesClient, folder: Path) -> None:
    output = OutputType.of(Review)
    run_job(
        client, PROMPTS[:5], folder, model="claude-haiku-4-5", poll_interval=0.01,
        defaults={"max_tokens": 500, "output_config": {"format": output.format()}},
    )  # fmt: skip
    answers = [*read_results(folder, output_type=Review)]
    assert len(answers) == 5
    assert all(isinstance(answer.value, Review) for answer in answers)
    table = read_results(folder, output_type=Review).to_arrow()
    assert table.column_names == ["custom_id", "stars", "mood", "reasons", "on", *OUTCOME]


@pytest.mark.parametrize("name", ["parquet", "jsonl"])
def test_rows_are_read_with_typed_answers(folder: Path, name: str) -> None:
    publish(folder, name, Review)
    answered, skipped, failed = read_results(folder, output_type=Review)
    review = Review(stars=4, mood="good", reasons=["fast", "cheap"], on=date(2026, 11, 29))
    assert (answered.row, answered.value) == ({"id": 1, "tags": ["a"]}, review)
    assert (skipped.row, skipped.value, skipped.status) == ({"id": 2, "tags": None}, None, "skipped")
    assert (failed.status, failed.error) == ("errored", "overloaded_error: Overloaded")
    table = read_results(folder, output_type=Review).to_arrow()
    assert table["on"].to_pylist() == [date(2026, 11, 29), None, None]


def test_rows_know_which_columns_are_the_answers_without_the_type(folder: Path) -> None:
    publish(folder, output=Review)
    answered = next(iter(read_results(folder)))
    assert answered.row == {"id": 1, "tags": ["a"]}
    assert answered.value == {"stars": 4, "mood": "good", "reasons": ["fast", "cheap"], "on": date(2026, 11, 29)}


@pytest.mark.parametrize("name", ["parquet", "jsonl", "csv"])
def test_rows_are_read_with_texts(folder: Path, name: str) -> None:
    publish(folder, name, id=["1", "2", "3"], note=["a", None, ""])
    table = read_results(folder).to_arrow()
    assert table.column_names == ["id", "note", "answer", *OUTCOME]
    assert table["note"].to_pylist() == ["a", None, ""]
    assert table["_input_tokens"].to_pylist() == [1, None, None]
    answers: list[Answer] = [*read_results(folder)]
    assert [answer.value for answer in answers] == [REVIEW, None, None]
    assert [answer.row["id"] for answer in answers] == ["1", "2", "3"]


def test_json_columns_have_the_type_that_all_rows_have_in_common(folder: Path) -> None:
    publish(folder, "jsonl", id=[None, None, 3], score=[1, 2, 0.5])
    schema = read_results(folder).to_arrow().schema
    assert (schema.field("id").type, schema.field("score").type) == (pa.int64(), pa.float64())


def test_another_type_than_the_jobs_is_refused(folder: Path) -> None:
    publish(folder, output=Review)
    with pytest.raises(InvalidRequest, match="stored answers have stars, mood, reasons, on"):
        read_results(folder, output_type=list[str]).to_arrow()


def test_objects_of_a_type_are_not_read_from_csv(folder: Path) -> None:
    publish(folder, "csv", Review)
    with pytest.raises(InvalidRequest, match=r"holds texts only.*Read it without output_type"):
        read_results(folder, output_type=Review).to_arrow()


def test_frames_of_pandas_and_polars_have_the_rows(folder: Path) -> None:
    publish(folder, output=Review)
    results = read_results(folder)
    assert results.to_pandas()["id"].tolist() == [1, 2, 3]
    assert results.to_polars()["stars"].to_list() == [4, None, None]


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_package_that_is_missing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    publish(folder)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidRequest, match=f"not installed: pip install {package}"):
        getattr(read_results(folder), f"to_{package}")()


def test_a_job_that_has_not_finished_is_refused(client: BatchesClient, folder: Path) -> None:
    job(client, folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(NotPublished, match=r"has not finished: it has no manifest\.json yet"):
        read_results(folder)


def test_an_object_that_a_landing_replaces_is_refused(client: BatchesClient, tmp_path: Path) -> None:
    params = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Hi"}], **DEFAULTS}
    land(client, client.create([{"custom_id": "a", "params": params}]).id, f"file://{tmp_path}/out.jsonl")
    manifest = tmp_path / "out.jsonl.manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"publishing"'))
    with pytest.raises(LandingRefused, match="being replaced by a landing"):
        read_results(tmp_path / "out.jsonl")


@pytest.mark.parametrize("name", ["nothing", "nothing.jsonl"])
def test_a_place_with_nothing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LandingRefused, match="nothing is there to read"):
        read_results(tmp_path / name)


def test_a_job_without_answers_has_its_columns(folder: Path) -> None:
    folder.mkdir()
    (folder / "manifest.json").write_text('{"results": []}')
    table = read_results(folder, output_type=Review).to_arrow()
    assert (table.num_rows, table.column_names[:2]) == (0, ["custom_id", "stars"])
    assert not [*read_results(folder)]


def test_nothing_is_read_before_it_is_asked_for(client: BatchesClient, folder: Path) -> None:
    job(client, folder)
    results = read_results(folder)
    (part,) = folder.glob("results-*")
    part.unlink()
    batches = results.batches()
    with pytest.raises(SourceError, match=part.name):
        next(batches)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.mark.parametrize("name", ["jsonl.zst", "parquet"])
def test_results_are_read_from_a_store(client: BatchesClient, s3: S3Server, name: str) -> None:
    bucket = name.replace(".", "-")
    s3.make_bucket(bucket)
    uri = f"s3://{bucket}/answers"
    run_job(
        client, PROMPTS, uri, model="claude-haiku-4-5", defaults=DEFAULTS, poll_interval=0.01, format=name,
        storage_options=s3.storage_options,
    )  # fmt: skip
    assert read_results(uri, storage_options=s3.storage_options).to_arrow().num_rows == 30
    part = f"{uri}/results-00000.{name}"
    assert len([*read_results(part, storage_options=s3.storage_options)]) == 30


def test_reading_imports_no_airflow() -> None:
    code = (
        "import sys; from airflow_batches.tables import read_results; print([n for n in sys.modules if n == 'airflow'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_missing_pyarrow_is_named_with_its_extra() -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from airflow_batches.tables import read_results"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "airflow_batches.tables needs pyarrow: pip install 'airflow-batches[parquet]'" in run.stderr
