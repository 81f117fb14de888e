"""What can go wrong while landing, besides the API's own errors.

BatchesError
└── LandingError             nothing was published; a retry may help (disk full, store unreachable, not ended)
    ├── LandingRefused       and InvalidRequest: a retry never helps until a person changes something
    ├── LandingMismatch      what came is not what the batch must hold; `mismatch` says how; a retry may help
    ├── LandingOvertaken     another landing published at the same place meanwhile; a retry helps
    └── LandingTimeout       the landing's own time was over; a retry starts with a fresh one
        └── StoreTimeout     and it was the store that was waited for
"""

from __future__ import annotations

from airflow_batches.api.errors import BatchesError, InvalidRequest
from airflow_batches.landing.verify import Mismatch


class LandingError(BatchesError):
    """The results were not published."""


class LandingRefused(LandingError, InvalidRequest):
    """Nothing can land there like this: no URI, no permission, the object of another, results that are gone."""


class LandingOvertaken(LandingError):
    """Another landing published at the same place while this one did.

    What stands there is not known to be whole; the next landing compares it with its manifest and lands again if it
    must. A retry helps.
    """


class LandingTimeout(LandingError, TimeoutError):
    """The overall timeout passed before every result had come."""


class StoreTimeout(LandingTimeout):
    """The store did not do in time what it was asked for."""


class LandingMismatch(LandingError):
    """Lines are missing, doubled or foreign, or their types are not those that the batch counts."""

    def __init__(self, batch_id: str, mismatch: Mismatch, consequence: str) -> None:
        self.mismatch = mismatch
        said = f"the results of {batch_id} do not match the batch: {'; '.join(mismatch.sentences())}"
        super().__init__(f"{said}. {consequence}")
