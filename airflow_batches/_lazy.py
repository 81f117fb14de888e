"""Public names that load their module on first use: DAG files import us every few seconds, and must stay cheap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def exports(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """A module's `__getattr__` for `{public name: submodule it stands in}`."""

    def load(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return load
