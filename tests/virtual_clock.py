"""A clock that moves only when something sleeps."""

from __future__ import annotations

import pytest

START = 1_000_000.0


class VirtualClock:
    """Stands in for `time.time` and `time.sleep`; `pauses` are the sleeps so far, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        self.pauses: list[float] = []
        monkeypatch.setattr("time.time", lambda: self.now)
        monkeypatch.setattr("time.sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.pauses.append(seconds)
        self.now += seconds
