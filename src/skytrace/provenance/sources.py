"""The source files that a function's result may pass through: its module's, and those of everything that it imports.

Read from the text of the sources as they are now: imports inside functions and names loaded on first use
(``compute.lazy_names``) count, those for the type checker alone do not. Of a package that a module lies in, or that
hands on a name, the ``__init__`` itself counts, and not what else it imports; a computed import is not seen.
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
        self._homes: dict[str, dict[str, str]] = {}

    @cached_property
    def _modules(self) -> dict[str, Path]:
        found = {}
        for path in self._root.rglob("*.py"):
            parts = path.relative_to(self._root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return found

    def files_of(self, name: str) -> frozenset[Path]:
        """Files, relative to ``root``, of the module that defines ``name`` (``package.module.function``) and of all
        that it imports, at any remove; none where no module of this tree defines it.
        """
        while name and name not in self._modules:
            name = name.rpartition(".")[0]
        todo, found = {name} - {""}, set()
        while todo:
            module = todo.pop()
            found.add(module)
            todo |= self._imported_by(module) - found
        parts = [module.split(".") for module in found]
        found |= {".".join(names[:n]) for names in parts for n in range(1, len(names))} & set(self._modules)
        return frozenset(self._modules[module].relative_to(self._root) for module in found)

    def _imported_by(self, module: str) -> frozenset[str]:
        if module not in self._imports:
            names: set[str] = set()
            for node in _running(self._tree(module)):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names |= {self._defining(node.module, alias.name) for alias in node.names}
            self._imports[module] = frozenset(names & set(self._modules))
        return self._imports[module]

    def _tree(self, module: str) -> ast.Module:
        return ast.parse(self._modules[module].read_text(encoding="utf-8"))

    def _defining(self, module: str, name: str) -> str:
        """The module that ``from module import name`` is about: a package may only hand the name on."""
        if f"{module}.{name}" in self._modules:
            return f"{module}.{name}"
        if module in self._modules and self._modules[module].name == "__init__.py":
            if module not in self._homes:
                self._homes[module] = {**self._handed_on(module), **self._lazy_home(module)}
            if name in self._homes[module]:
                return self._homes[module][name]
        return module

    def _handed_on(self, package: str) -> dict[str, str]:
        return {
            alias.asname or alias.name: self._defining(node.module, alias.name)
            for node in self._tree(package).body
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{package}.")
            for alias in node.names
        }

    def _lazy_home(self, package: str) -> dict[str, str]:
        """Name -> module, of a package whose ``__init__`` gives such a table to ``lazy_names``."""
        tree, tables = self._tree(package), {}
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                tables |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lazy_names":
                table = node.args[-1]
                literal = tables.get(table.id) if isinstance(table, ast.Name) else table
                try:
                    homes = dict(ast.literal_eval(literal)) if literal is not None else {}
                except ValueError:
                    return {}
                return {name: f"{package}.{home}" for name, home in homes.items()}
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
