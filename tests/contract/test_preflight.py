"""The preflight refuses no request whose shape the emulator answers.

The other way round there are gaps: the preflight knows no models, and leaves some shapes to the API.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_batches.submission.preflight import judge
from tests.unit.emulator.client import VERSION
from tests.unit.emulator.test_shapes import FINE


@pytest.mark.parametrize("params", FINE)
def test_the_preflight_takes_every_known_shape(params: Any) -> None:
    request = json.dumps({"custom_id": "a", "params": params}).encode()
    assert judge(request, default_model=None, version=VERSION) == []
