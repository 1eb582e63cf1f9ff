"""Compiled fits on disk follow every file that they are compiled from, and give the numbers of those compiled anew."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skytrace.compute.kernel_cache import files_digest
from skytrace.supernovae import _fit_kernels as kernels


def test_what_python_calls_is_stamped_with_all_files_that_have_kernels():
    folder = Path(kernels.__file__).parent
    assert set(kernels.SOURCES) == {path for path in folder.glob("*.py") if "@njit" in path.read_text()}
    for kernel in (kernels.fit_supernovae, kernels.objective_gradient, kernels.predict_all):
        assert kernel._cache._cache_file._source_stamp[-1] == files_digest(kernels.SOURCES)


_FIT = """
import hashlib, sys
import pandas as pd
from skytrace.supernovae import FitOptions, fit_light_curves
from tests.supernovae.test_light_curve_fit import simulate
table, _ = simulate(200, seed=4)
for options in (FitOptions(), FitOptions(estimator="mle", loss="student_t")):
    fits = fit_light_curves(table, options=options)
    print(hashlib.sha256(pd.util.hash_pandas_object(fits, index=False).to_numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_a_process_that_compiles_and_one_that_reads_the_kernels_give_the_same_bits(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).parents[2]

    def fits():
        command = [sys.executable, "-c", _FIT]
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout

    first = fits()
    assert any(tmp_path.rglob("*.nbc"))
    assert len(set(first.split())) == 2
    assert fits() == first
