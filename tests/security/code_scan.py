"""What code must not do with what comes from outside, found in its syntax tree: names are followed through imports."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

#: Modules that turn bytes into objects by running what the bytes say, or parsers of XML that expand entities.
MODULES = (
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "jsonpickle", "pickletools",
    "xml", "lxml", "kedro_datasets.pickle", "kedro_datasets_experimental.pytorch",
)  # fmt: skip
#: Names that are not even mentioned.
NAMES = (
    "eval", "exec", "builtins.eval", "builtins.exec", "os.system", "os.popen", "subprocess.getoutput",
    "subprocess.getstatusoutput", "tempfile.mktemp", "joblib.load", "pandas.read_pickle", "yaml.unsafe_load",
    "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all", "yaml.Loader", "yaml.UnsafeLoader",
    "yaml.FullLoader", "shutil.unpack_archive", "numpy.fromregex", "torch.package.PackageImporter",
    "torch.hub.load", "torch.jit.load",
)  # fmt: skip
#: Calls that are safe in one form only; handed on uncalled they are in none.
CONDITIONAL = ("numpy.load", "numpy.lib.format.read_array", "torch.load", "yaml.load", "yaml.load_all")
SAFE_YAML = ("yaml.SafeLoader", "yaml.CSafeLoader")
#: Methods whatever the object: an archive writes where its members' names say.
METHODS = ("extractall", "unpack_archive", "read_pickle", "to_pickle")


@dataclass(frozen=True)
class Finding:
    """line: from 1. rule: the name that is used, or the argument."""

    line: int
    rule: str


def scan(source: str) -> list[Finding]:
    """Everything in ``source`` that is not allowed, in its order."""
    tree = ast.parse(source)
    aliases = _aliases(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [Finding(node.lineno, f"import {name}") for name in _imported(node) if _within(name, MODULES)]
        elif isinstance(node, ast.Call):
            found += [Finding(node.lineno, rule) for rule in _of_call(node, aliases)]
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            name = _full_name(node, aliases)
            if name in NAMES or (name in CONDITIONAL and id(node) not in called):
                found.append(Finding(node.lineno, str(name)))
    return sorted(set(found), key=lambda finding: (finding.line, finding.rule))


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def _aliases(tree: ast.AST) -> dict[str, str]:
    """Local name -> the dotted name that it stands for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _full_name(node: ast.AST, aliases: dict[str, str]) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([aliases.get(node.id, node.id), *reversed(parts)])


def _within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _of_call(node: ast.Call, aliases: dict[str, str]) -> Iterator[str]:
    name = _full_name(node.func, aliases) or ""
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        yield f".{node.func.attr}()"
    if isinstance(node.func, ast.Attribute) and node.func.attr == "extract" and name.split(".")[0] != "sep":
        yield ".extract()"
    if "allow_pickle" in given and not _is(given["allow_pickle"], False):
        yield "allow_pickle"
    if name in ("numpy.load", "numpy.lib.format.read_array") and (None in given or len(node.args) > 2):
        yield f"{name} with arguments that cannot be read here"
    if "shell" in given and not _is(given["shell"], False):
        yield "shell"
    if name.startswith("subprocess.") and None in given:
        yield f"{name} with arguments that cannot be read here"
    if name == "torch.load" and not _is(given.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if name in ("yaml.load", "yaml.load_all"):
        loader = given.get("Loader", node.args[1] if len(node.args) > 1 else None)
        if loader is None or _full_name(loader, aliases) not in SAFE_YAML:
            yield f"{name} without a safe loader"
    if name in ("__import__", "builtins.__import__", "importlib.import_module") and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and _within(str(first.value), MODULES):
            yield f"import {first.value}"
    if name == "jinja2.Environment" and not _is(given.get("autoescape"), True):
        yield "jinja2.Environment without autoescape=True"


def _is(node: ast.AST | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
