"""The package installs beside the versions that each supported Airflow had when it was new."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airflow_batches

PYPROJECT: Final = Path(airflow_batches.__file__).parent.parent / "pyproject.toml"

OF_ITS_TIME: Final = {
    "3.1.0": {
        "aiobotocore": "2.24.2",
        "apache-airflow": "3.1.0",
        "apache-airflow-providers-amazon": "9.14.0",
        "apache-airflow-providers-common-compat": "1.7.4",
        "fsspec": "2025.9.0",
        "h11": "0.16.0",
        "msgspec": "0.19.0",
        "psutil": "7.1.0",
        "pyarrow": "21.0.0",
        "pydantic": "2.11.9",
        "requests": "2.32.5",
        "rich": "14.1.0",
        "rich-argparse": "1.7.1",
        "s3fs": "2025.9.0",
        "tenacity": "9.1.2",
        "urllib3": "2.5.0",
        "zstandard": "0.25.0",
    },
    "3.1.8": {
        "aiobotocore": "3.2.1",
        "apache-airflow": "3.1.8",
        "apache-airflow-providers-amazon": "9.22.0",
        "apache-airflow-providers-common-compat": "1.14.0",
        "fsspec": "2026.2.0",
        "h11": "0.16.0",
        "msgspec": "0.20.0",
        "psutil": "7.2.2",
        "pyarrow": "22.0.0",
        "pydantic": "2.12.5",
        "requests": "2.32.5",
        "rich": "14.3.3",
        "rich-argparse": "1.7.2",
        "s3fs": "2026.2.0",
        "tenacity": "9.1.4",
        "urllib3": "2.6.3",
        "zstandard": "0.25.0",
    },
    "3.2.2": {
        "aiobotocore": "3.7.0",
        "apache-airflow": "3.2.2",
        "apache-airflow-providers-amazon": "9.29.0",
        "fsspec": "2026.4.0",
        "h11": "0.16.0",
        "msgspec": "0.21.1",
        "pyarrow": "24.0.0",
        "pydantic": "2.13.4",
        "requests": "2.34.2",
        "s3fs": "2026.4.0",
        "urllib3": "2.7.0",
    },
    "3.3.2": {
        "aiobotocore": "3.9.1",
        "apache-airflow": "3.3.2",
        "apache-airflow-providers-amazon": "9.36.0",
        "fsspec": "2026.9.0",
        "h11": "0.16.0",
        "msgspec": "0.21.1",
        "pyarrow": "25.0.1",
        "pydantic": "2.13.5",
        "requests": "2.34.2",
        "s3fs": "2026.9.0",
        "urllib3": "2.8.0",
    },
}
"""What `uv pip compile --exclude-newer` finds for `apache-airflow==… apache-airflow-providers-amazon[s3fs]` and our
dependencies a day after each release: 2025-09-27, 2026-03-12, 2026-05-29 and 2026-09-19."""

USED: Final = ("s3", "gcs", "azure", "parquet", "zstd", "demo")
"""The extras for users; those for tests and benchmarks may ask for the newest of everything."""


def required() -> list[Requirement]:
    """What the package and its extras for users require of others."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name in USED for line in extras[name])]
    return [each for each in map(Requirement, lines) if each.name != project["name"]]


@pytest.mark.parametrize("airflow", OF_ITS_TIME)
def test_no_bound_shuts_out_what_an_airflow_of_its_time_has(airflow: str) -> None:
    had = OF_ITS_TIME[airflow]
    refused = [
        f"{each} (had {had[canonicalize_name(each.name)]})"
        for each in required()
        if canonicalize_name(each.name) in had and not each.specifier.contains(had[canonicalize_name(each.name)])
    ]
    assert not refused


def test_every_requirement_of_the_s3_extra_is_in_the_table() -> None:
    names = {
        Requirement(line).name
        for line in tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["s3"]
    }
    assert names
    assert all(names <= set(had) for had in OF_ITS_TIME.values())
