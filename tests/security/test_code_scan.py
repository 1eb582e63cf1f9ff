"""No unsafe deserialisation, no shell and no unchecked unpacking anywhere in the project, and the scan can fail."""

import re
from pathlib import Path

import pytest
import yaml

from tests.security.code_scan import scan

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "benchmarks").rglob("*.py")])
YAMLS = sorted(path for path in (REPOSITORY / "conf").rglob("*") if path.suffix in (".yml", ".yaml"))
CATALOGS = [path for path in YAMLS if path.name.startswith("catalog")]
TEMPLATES = sorted((REPOSITORY / "src" / "skytrace" / "reporting" / "templates").glob("*.j2"))
#: (file, rule) -> why it may stand. An exception that nothing needs any more fails.
EXCEPTIONS: dict[tuple[str, str], str] = {}
#: What a template may put on the page as it is, and why it cannot hold what comes from outside.
UNESCAPED = {
    "style": "the project's own file",
    "script": "the project's own file",
    "style_hash": "the hash of the project's own file, for the content security policy",
    "script_hash": "the hash of the project's own file, for the content security policy",
    "product.html": "plain_table_html keeps nothing but plain elements of tables",
    "cells_json": "_script_json writes <, > and & as \\u escapes",
    "colours_json": "_script_json writes <, > and & as \\u escapes",
    "explorer_json": "_script_json writes <, > and & as \\u escapes",
}
#: Kinds of datasets and of their options that unpickle or run what they read.
UNSAFE_WORDS = re.compile(r"pickle|dill|joblib|pytorch|keras|torch\.", re.IGNORECASE)


def _name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def test_no_code_of_the_project_loads_objects_runs_text_or_unpacks_archives():
    assert len(SOURCES) > 400
    found = {(_name(path), finding.rule): finding.line for path in SOURCES for finding in scan(path.read_text("utf-8"))}
    unlisted = [f"{file}:{line}: {rule}" for (file, rule), line in found.items() if (file, rule) not in EXCEPTIONS]
    assert not unlisted, "\n".join(unlisted)
    assert set(EXCEPTIONS) <= set(found), "exceptions that nothing needs"


@pytest.mark.parametrize(
    ("snippet", "rule"),
    [
        ("import pickle", "import pickle"),
        ("from pickle import loads as f", "import pickle.loads"),
        ("import importlib\nimportlib.import_module('cloudpickle')", "import cloudpickle"),
        ("__import__('dill')", "import dill"),
        ("import shelve as s", "import shelve"),
        ("def f():\n    import xml.etree.ElementTree as t", "import xml.etree.ElementTree"),
        ("import joblib\njoblib.load(p)", "joblib.load"),
        ("from joblib import load\nload(p)", "joblib.load"),
        ("import torch\ntorch.load(p)", "torch.load without weights_only=True"),
        ("import torch\ntorch.load(p, weights_only=False)", "torch.load without weights_only=True"),
        ("import torch\nread = torch.load", "torch.load"),
        ("import numpy as np\nnp.load(p, allow_pickle=True)", "allow_pickle"),
        ("import numpy as np\nnp.load(p, allow_pickle=flag)", "allow_pickle"),
        ("import numpy as np\nnp.load(p, None, True)", "numpy.load with arguments that cannot be read here"),
        ("from numpy import load\nload(p, **how)", "numpy.load with arguments that cannot be read here"),
        ("import numpy\nlist(map(numpy.load, p))", "numpy.load"),
        ("import pandas as pd\npd.read_pickle(p)", "pandas.read_pickle"),
        ("frame.to_pickle(p)", ".to_pickle()"),
        ("import yaml\nyaml.load(t)", "yaml.load without a safe loader"),
        ("import yaml\nyaml.load(t, Loader=yaml.FullLoader)", "yaml.load without a safe loader"),
        ("from yaml import unsafe_load", None),
        ("from yaml import unsafe_load as u\nu(t)", "yaml.unsafe_load"),
        ("eval(t)", "eval"),
        ("run = exec", "exec"),
        ("import os\nos.system(t)", "os.system"),
        ("from os import popen\npopen(t)", "os.popen"),
        ("import subprocess as s\ns.run(t, shell=True)", "shell"),
        ("import subprocess\nsubprocess.Popen(t, shell=flag)", "shell"),
        ("import subprocess\nsubprocess.run(t, **how)", "subprocess.run with arguments that cannot be read here"),
        ("import tempfile\ntempfile.mktemp()", "tempfile.mktemp"),
        ("import tarfile\ntarfile.open(p).extractall(d)", ".extractall()"),
        ("import zipfile\nwith zipfile.ZipFile(p) as z:\n    z.extract(m, d)", ".extract()"),
        ("import shutil\nshutil.unpack_archive(p)", "shutil.unpack_archive"),
        ("import jinja2\njinja2.Environment()", "jinja2.Environment without autoescape=True"),
    ],
)
def test_the_scan_finds_each_of_them(snippet, rule):
    rules = [finding.rule for finding in scan(snippet)]
    assert (rule in rules) if rule else rules == []


@pytest.mark.parametrize(
    "snippet",
    [
        "import numpy as np\nnp.load(p)\nnp.load(p, allow_pickle=False)",
        "import torch\ntorch.load(p, weights_only=True)",
        "import yaml\nyaml.safe_load(t)\nyaml.load(t, Loader=yaml.CSafeLoader)",
        "import subprocess\nsubprocess.run(['git'], shell=False)",
        "import ast\nast.literal_eval(t)",
        "network.eval()\njoblib.Parallel()(work)",
        "class A:\n    def load(self): return json.load(f)",
        "# pickle.loads(x)\n'''eval(x)'''",
    ],
)
def test_the_scan_leaves_what_is_safe(snippet):
    assert scan(snippet) == []


def test_yaml_of_the_project_holds_plain_values_only():
    assert len(YAMLS) > 50
    for path in YAMLS:
        for event in yaml.parse(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader):
            tag = getattr(event, "tag", None)
            assert tag is None, f"{_name(path)} has tag {tag}"


def test_no_dataset_of_a_catalog_unpickles():
    kinds = set()
    for path in CATALOGS:
        for name, entry in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).items():
            unsafe = [words for words in _texts(entry) if UNSAFE_WORDS.search(words)]
            assert not unsafe, f"{_name(path)}: {name} says {unsafe}"
            if isinstance(entry, dict) and "type" in entry:
                kinds.add(entry["type"])
    assert {kind.rpartition(".")[0] for kind in kinds} == {"skytrace.datasets"}  # whose code is scanned above
    assert len(kinds) > 15


def _texts(value):
    """Every text in an entry but paths and descriptions: kinds of datasets, backends, their options by name."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key not in ("metadata", "filepath")}
        return [*map(str, kept), *(text for part in kept.values() for text in _texts(part))]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [str(value)]


@pytest.mark.parametrize("entry", [{"type": "pickle.PickleDataset"}, {"type": "x", "load_args": {"allow_pickle": True}},
                                   {"type": "x", "backend": "joblib"}])  # fmt: skip
def test_the_search_of_catalogs_finds_what_unpickles(entry):
    assert [words for words in _texts(entry) if UNSAFE_WORDS.search(words)]


def test_the_classes_of_the_catalogs_are_not_derived_from_pickling_ones():
    import skytrace.datasets

    for name in skytrace.datasets.__all__:
        for ancestor in getattr(skytrace.datasets, name).__mro__:
            assert not UNSAFE_WORDS.search(f"{ancestor.__module__}.{ancestor.__name__}"), (name, ancestor)


def test_templates_put_nothing_on_a_page_unescaped_but_what_is_listed():
    assert len(TEMPLATES) >= 6
    found = set()
    for path in TEMPLATES:
        source = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"{{\s*([\w.]+)\s*\|\s*safe\s*}}", source))
        assert len(re.findall(r"\|\s*safe\b", source)) == len(re.findall(r"{{\s*[\w.]+\s*\|\s*safe\s*}}", source))
        assert "autoescape" not in source, path.name
    assert found == set(UNESCAPED)


def test_scripts_of_the_pages_write_text_and_never_markup():
    scripts = sorted((REPOSITORY / "src" / "skytrace" / "reporting" / "templates").glob("*.js"))
    assert scripts
    wrong = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc")
    assert not [path.name for path in scripts if wrong.search(path.read_text(encoding="utf-8"))]
