"""Compiled fits on disk follow every file that they are compiled from."""

from pathlib import Path

from skytrace.compute.kernel_cache import files_digest
from skytrace.supernovae import _fit_kernels as kernels


def test_what_python_calls_is_stamped_with_all_files_that_have_kernels():
    folder = Path(kernels.__file__).parent
    assert set(kernels.SOURCES) == {path for path in folder.glob("*.py") if "@njit" in path.read_text()}
    for kernel in (kernels.fit_supernovae, kernels.objective_gradient, kernels.predict_all):
        assert kernel._cache._cache_file._source_stamp[-1] == files_digest(kernels.SOURCES)
