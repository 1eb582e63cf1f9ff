"""Which source files a node's result may pass through, read from the imports."""

from pathlib import Path

import pytest

from skytrace.provenance.sources import SourceTree

FILES = {
    "sky/__init__.py": "",
    "sky/lazy/__init__.py": (
        "from sky.names import lazy_names\n"
        "_HOME = {'A': 'one', 'B': 'two'}\n__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)\n"
    ),
    "sky/lazy/one.py": "from sky.deep import x\n",
    "sky/lazy/two.py": "",
    "sky/names.py": "",
    "sky/handing/__init__.py": "from sky.handing.three import C\nfrom sky.handing.four import D\n",
    "sky/handing/three.py": "",
    "sky/handing/four.py": "",
    "sky/deep.py": "import numpy\n",
    "sky/typing_only.py": "",
    "sky/inside.py": "",
    "sky/node.py": (
        "from typing import TYPE_CHECKING\nfrom sky.lazy import A\nfrom sky.handing import C\n"
        "if TYPE_CHECKING:\n    from sky import typing_only\n"
        "def run():\n    import sky.inside\n"
    ),
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return SourceTree(tmp_path)


def test_imports_inside_functions_and_names_loaded_on_first_use_count_and_types_do_not(tree):
    assert tree.files_of("sky.node.run") == {
        Path(name)
        for name in ("sky/__init__.py", "sky/node.py", "sky/lazy/__init__.py", "sky/lazy/one.py", "sky/deep.py",
                     "sky/inside.py", "sky/handing/__init__.py", "sky/handing/three.py")
    }  # fmt: skip


def test_a_function_from_elsewhere_has_no_source_here(tree):
    assert tree.files_of("numpy.linalg.norm") == frozenset()


def test_of_our_own_nodes_the_science_is_found_and_other_pipelines_are_not(repository):
    files = {
        path.as_posix()
        for path in SourceTree(repository / "src").files_of("skytrace.pipelines.supernova.stage_one.fit")
    }
    assert {"skytrace/pipelines/supernova/stage_one.py", "skytrace/supernovae/light_curve_fit.py"} <= files
    assert not [name for name in files if name.startswith(("skytrace/pipelines/cluster_pu", "skytrace/lensing"))]
