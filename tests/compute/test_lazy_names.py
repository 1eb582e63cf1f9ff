"""A package whose names are loaded on first use costs nothing to import and gives the very objects of its modules."""

import importlib
import subprocess
import sys

import pytest

PACKAGES = ("skytrace.lensing", "skytrace.selection")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_the_object_of_its_module_and_is_listed(package):
    module = importlib.import_module(package)
    assert dir(module) == module.__all__ == sorted(module._HOME)
    for name, home in module._HOME.items():
        assert getattr(module, name) is getattr(importlib.import_module(f"{package}.{home}"), name)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_there_is_an_attribute_error_of_the_package(package):
    module = importlib.import_module(package)
    assert not hasattr(module, "no_such_name")
    with pytest.raises(AttributeError, match=rf"module '{package}' has no attribute 'no_such_name'"):
        module.no_such_name  # noqa: B018


def test_importing_the_packages_imports_none_of_their_modules_but_a_name_imports_its_own():
    program = (
        "import sys, skytrace.lensing, skytrace.selection\n"
        "inner = lambda: {m for m in sys.modules if m.startswith(('skytrace.lensing.', 'skytrace.selection.'))}\n"
        "before = inner()\n"
        "from skytrace.lensing import sersic_b\n"
        "print(before, 'skytrace.lensing.sources' in inner(), 'numba' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == ["set()", "True"]
