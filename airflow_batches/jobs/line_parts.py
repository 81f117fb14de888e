"""Publish the lines of a job as they landed.

results-00000.jsonl …    lines that succeeded, a part for each landed batch that has some
failed.jsonl             the last line of every other request
"""

from __future__ import annotations

from typing import Final

from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.ledger import SUCCEEDED
from airflow_batches.jobs.publish import Lines, PublishedParts
from airflow_batches.landing.formats import encoder_for
from airflow_batches.landing.manifest import LandedObject
from airflow_batches.landing.output import Output

FORMATS: Final = ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")


class LineParts:
    """Writes result lines; see `Parts`.

    :param folder: the job's folder.
    :param format_name: the format of the parts, one of `FORMATS`.
    """

    def __init__(self, folder: JobFolder, format_name: str) -> None:
        self._folder = folder
        self._format = format_name
        self._results: list[LandedObject] = []
        self._failed = Output(folder.at("failed.jsonl"), "jsonl", encoder_for("jsonl"))
        self._part: Output | None = None

    def add(self, data: bytes, lines: Lines, total: int) -> None:
        """Write final lines: answers to the part, others to the failures."""
        good = [raw for raw, line in lines if line.result.type == SUCCEEDED]
        bad = [raw for raw, line in lines if line.result.type != SUCCEEDED]
        if good:
            self._part = self._part or self._new_part()
            self._part.write(data if len(good) == total else _joined(good), len(good))
        if bad:
            self._failed.write(_joined(bad), len(bad))

    def end_batch(self) -> None:
        """Publish the batch's part, if it has answers."""
        if self._part is not None:
            self._results.append(self._part.finish())
            self._part.commit()
            self._part = None

    def finish(self) -> PublishedParts:
        """Publish the failures."""
        failures = self._failed.finish()
        self._failed.commit()
        return PublishedParts(self._results, failures)

    def discard(self) -> None:
        """Remove what was not published."""
        self._failed.discard()
        if self._part is not None:
            self._part.discard()

    def _new_part(self) -> Output:
        name = f"results-{len(self._results):05d}.{self._format}"
        return Output(self._folder.at(name), self._format, encoder_for(self._format))


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line.rstrip(b"\r") + b"\n" for line in lines)
