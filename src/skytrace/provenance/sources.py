"""The source files that a function's result may pass through: its module's, and those of everything that it imports.

Read from the text of the sources as they are now, imports inside functions and names loaded on first use included
(``compute.lazy_names``), those for the type checker alone left out. What is imported by a computed name is not seen.
"""

from __future__ import annotations

import ast
from functools import cached_property
from pathlib import Path

__all__ = ["SourceTree"]


class SourceTree:
    """The packages below ``root``, a folder such as ``src``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._imports: dict[str, frozenset[str]] = {}

    @cached_property
    def _modules(self) -> dict[str, Path]:
        found = {}
        for path in self._root.rglob("*.py"):
            parts = path.relative_to(self._root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return found

    def files_of(self, name: str) -> frozenset[Path]:
        """Files, relative to ``root``, of the module that defines ``name`` (``package.module.function``) and of all that
        it imports, at any remove; none where no module of this tree defines it.
        """
        while name and name not in self._modules:
            name = name.rpartition(".")[0]
        todo, found = {name} - {""}, set()
        while todo:
            module = todo.pop()
            found.add(module)
            todo |= self._imported_by(module) - found
        return frozenset(self._modules[module].relative_to(self._root) for module in found)

    def _imported_by(self, module: str) -> frozenset[str]:
        if module not in self._imports:
            tree = ast.parse(self._modules[module].read_text(encoding="utf-8"))
            names: set[str] = set()
            for node in _running(tree):
                if isinstance(node, ast.Import):
                    names |= {part for alias in node.names for part in self._with_parents(alias.name)}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names |= {part for alias in node.names for part in self._defining(node.module, alias.name)}
            self._imports[module] = frozenset(names | set(self._with_parents(module)))
        return self._imports[module]

    def _defining(self, package: str, name: str) -> list[str]:
        if package not in self._modules:
            return []
        if f"{package}.{name}" in self._modules:
            return self._with_parents(f"{package}.{name}")
        home = self._lazy_home(package).get(name)
        return self._with_parents(f"{package}.{home}" if home else package)

    def _with_parents(self, module: str) -> list[str]:
        parts = module.split(".")
        names = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
        return [name for name in names if name in self._modules]

    def _lazy_home(self, package: str) -> dict[str, str]:
        """Name -> submodule, of a package whose ``__init__`` gives such a table to ``lazy_names``."""
        tree = ast.parse(self._modules[package].read_text(encoding="utf-8"))
        tables = {}
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                tables |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lazy_names":
                table = node.args[-1]
                literal = tables.get(table.id) if isinstance(table, ast.Name) else table
                try:
                    return dict(ast.literal_eval(literal)) if literal is not None else {}
                except ValueError:
                    return {}
        return {}


def _running(tree: ast.AST) -> list[ast.AST]:
    """Every node of the tree but what stands under ``if TYPE_CHECKING:``."""
    found, todo = [], [tree]
    while todo:
        node = todo.pop()
        found.append(node)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)
    return found
