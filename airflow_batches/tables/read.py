"""Read results: what a job has published, or one landed object.

| stored                                  | columns of a table                                                         |
|-----------------------------------------|----------------------------------------------------------------------------|
| parts of a job over rows                | as they were written: kept columns, the answer's, how the request ended    |
| result lines (JSONL, compressed or not, | `custom_id`, then the same columns as a part has (`answer_columns`);       |
| or as a Parquet table)                  | with `output_type`, its members                                            |

Rules: results are read when they are asked for, in record batches, and never all at once unless a method returns all of
them. Reading needs no Airflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.tables.answer import Answer, answer_parser, answers_in
from airflow_batches.tables.output_type import OutputType
from airflow_batches.tables.stored import StoredObject, find_objects
from airflow_batches.tables.stored_batches import stored_batches

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]
    import polars as pl


class StoredResults:
    """Results of a finished job or a landing. Iterating over them yields an `Answer` for each row or line.

    :param objects: the objects that hold them, in order.
    :param output_type: the type of the answers; see `read_results`.

    Example::

        results = read_results("s3://lake/answers/", output_type=Review)
        for answer in results:
            if answer.succeeded:
                print(answer.row["id"], answer.value.stars)
    """

    def __init__(self, objects: tuple[StoredObject, ...], output_type: Any = None) -> None:
        self._objects = objects
        self._parse = answer_parser(output_type)
        self._output = None if output_type is None else OutputType.of(output_type)

    def __iter__(self) -> Iterator[Answer]:
        for batch in self.batches():
            yield from answers_in(batch, self._parse)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows in record batches, one in memory at a time.

        :raises LandingError: the store failed.
        """
        return stored_batches(self._objects, self._output)

    def to_arrow(self) -> pa.Table:
        """Return all rows as a table."""
        return pa.Table.from_batches([*self.batches()])

    def to_pandas(self) -> pd.DataFrame:
        """Return all rows as a pandas frame.

        :raises InvalidRequest: pandas is not installed.
        """
        _require("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """Return all rows as a polars frame.

        :raises InvalidRequest: polars is not installed.
        """
        polars = _require("polars")
        frame: pl.DataFrame = polars.from_arrow(self.to_arrow())
        return frame


def read_results(
    place: str | PathLike[str], *, output_type: Any = None, storage_options: Mapping[str, Any] | None = None
) -> StoredResults:
    """Read what a job has published, or a landed object.

    :param place: URI or absolute path of the job's folder, or of an object: JSONL (also `.gz`, `.zst`), Parquet, CSV.
    :param output_type: what the job's `output_type` was: answers become objects of it. None: texts, or dicts.
    :param storage_options: options for the fsspec file system of the URI.
    :return: the results; only the manifest has been read so far.
    :raises NotPublished: the job has not finished.
    :raises LandingRefused: there is nothing, or a landing has not finished.
    :raises LandingError: the store failed.

    Example::

        frame = read_results("s3://lake/answers/").to_pandas()
    """
    return StoredResults(find_objects(place, storage_options), output_type)


def _require(package: str) -> Any:
    """Import a package that is no dependency.

    :raises InvalidRequest: it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as exc:
        raise InvalidRequest(f"to_{package} needs {package}, which is not installed: pip install {package}") from exc
