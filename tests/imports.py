"""Which modules of a package import each other at run time, and in which circles.

`if TYPE_CHECKING:` does not count. A name that a package loads late (`_lazy.exports`) counts as an import of the module
that defines it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

Graph = Mapping[str, frozenset[str]]


class Circles(NamedTuple):
    """The circles of a package, each as the names of its members."""

    at_top: list[str]
    in_functions: list[str]
    of_folders: list[str]


class Import(NamedTuple):
    """A module that is imported, and where the import stands."""

    module: str
    at_top: bool


@dataclass(frozen=True)
class Package:
    """A package's modules.

    :param folder: the package's folder.
    """

    folder: Path

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """The syntax tree of each module, by its full name."""
        return {self._name(path): ast.parse(path.read_text()) for path in sorted(self.folder.rglob("*.py"))}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.folder.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def late_names(self) -> dict[tuple[str, str], str]:
        """The module that defines a name which its package loads late, by package and name."""
        return {
            (package, name): f"{package}.{module}"
            for package, tree in self.modules.items()
            for name, module in late_names(tree).items()
        }

    def imports(self, module: str) -> Iterator[Import]:
        """Yield the package's own modules that a module imports."""
        for node, at_top in run_time_imports(self.modules[module]):
            for name in self._imported(node):
                if name != module:
                    yield Import(name, at_top)

    def _imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in self.modules)
        elif node.module in self.modules:
            for alias in node.names:
                module = self.late_names.get((node.module, alias.name), f"{node.module}.{alias.name}")
                yield module if module in self.modules else node.module

    def graph(self, *, functions: bool) -> dict[str, frozenset[str]]:
        """Return the imports of each module, with or without those in functions."""
        return {
            module: frozenset(each.module for each in self.imports(module) if each.at_top or functions)
            for module in self.modules
        }


def late_names(tree: ast.Module) -> Mapping[str, str]:
    """Return the `_MODULES` of a package's `__init__`."""
    for statement in tree.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id="_MODULES")], value=value)
                | ast.AnnAssign(target=ast.Name(id="_MODULES"), value=ast.expr() as value)
            ):
                names: Mapping[str, str] = ast.literal_eval(value)
                return names
    return {}


def run_time_imports(tree: ast.AST, *, at_top: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield the imports under a node, and whether they run when the module is imported."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_top
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.orelse:
                yield from run_time_imports(ast.Module([statement], []), at_top=at_top)
        else:
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from run_time_imports(child, at_top=at_top and not inner)


def circles(folder: Path) -> Circles:
    """Find the circles of a package.

    :param folder: the package's folder.
    """
    package = Package(folder)
    at_top = rings(package.graph(functions=False))
    in_functions = [ring for ring in rings(package.graph(functions=True)) if ring not in at_top]
    folders = rings(_of_folders(package.graph(functions=True)))
    return Circles(*(["  ".join(ring) for ring in found] for found in (at_top, in_functions, folders)))


def _of_folders(graph: Graph) -> dict[str, frozenset[str]]:
    """Return the imports of each folder, or file beside the folders."""
    folders: dict[str, set[str]] = {}
    for module, imported in graph.items():
        folders.setdefault(_folder(module), set()).update(_folder(name) for name in imported)
    return {name: frozenset(imported - {name}) for name, imported in folders.items()}


def _folder(module: str) -> str:
    return ".".join(module.split(".")[:2])


def rings(graph: Graph) -> list[list[str]]:
    """Return the largest groups of members that reach each other, sorted."""
    reached = {name: reachable(graph, name) for name in graph}
    groups = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in graph}
    return sorted([*group] for group in groups if len(group) > 1)


def reachable(graph: Graph, start: str) -> set[str]:
    """Return everything that can be reached from a member, itself only over a circle."""
    found: set[str] = set()
    ahead: Iterable[str] = graph[start]
    while ahead:
        found.update(ahead)
        ahead = {name for each in ahead for name in graph.get(each, ())} - found
    return found
