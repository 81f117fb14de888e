"""Versions of an object, by which a change made by another process is noticed.

What distinguishes one version of an object from another, in addition to its size:

| store                    | tag                                                                                  |
|--------------------------|--------------------------------------------------------------------------------------|
| local                    | inode and time of modification; not kept in manifests, as a copied folder has others |
| S3, Azure                | ETag                                                                                 |
| GCS                      | ETag, or the generation                                                              |
| any other                | none: only the size, and the content where it is compared                            |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

TAGS: Final = ("ETag", "etag", "generation")
"""Fields in which fsspec's file systems give the store's version of an object, the best first."""


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an object; two with the same tag and size are the same."""

    size: int
    tag: str | None = None

    @classmethod
    def of_file(cls, status: os.stat_result) -> Self:
        """Return the version of a local file."""
        return cls(status.st_size, f"{status.st_ino:x}-{status.st_mtime_ns:x}")

    @classmethod
    def of_info(cls, info: Mapping[str, Any]) -> Self:
        """Return the version from what fsspec says of an object."""
        return cls(int(info["size"]), next((str(info[name]) for name in TAGS if info.get(name)), None))

    @property
    def is_of_parts(self) -> bool:
        """Whether the tag is S3's ETag of an object that was uploaded in parts (`…-2`)."""
        return self.tag is not None and "-" in self.tag


ANY_VERSION: Final = ObjectVersion(-1)
"""Stands for any object at the place, or none."""
