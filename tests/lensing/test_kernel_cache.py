"""Compiled kernels on disk follow the sources of every kernel that they call."""

from pathlib import Path

import skytrace.lensing as lensing
from skytrace.lensing import _brightness, _fourier, _kernel_cache, _kernels, _tracing


def test_every_cached_kernel_is_stamped_with_all_sources():
    digest = _kernel_cache.sources_digest()
    for kernel in (_kernels.sample_light, _kernels.lensed_flux, _brightness.classify, _tracing.trace,
                   _fourier._analyse, _fourier._filter_moffat):  # fmt: skip
        assert kernel._cache._cache_file._source_stamp[-1] == digest


def test_an_index_written_under_other_sources_is_not_read(tmp_path):
    from numba.core.caching import IndexDataCacheFile

    own = _kernels.sample_light._cache._cache_file._source_stamp
    written = IndexDataCacheFile(str(tmp_path), "kernel", own)
    written.save(("key",), b"compiled")
    assert IndexDataCacheFile(str(tmp_path), "kernel", own).load(("key",)) == b"compiled"
    edited = (*own[:-1], "digest of an edited _tracing.py")
    assert IndexDataCacheFile(str(tmp_path), "kernel", edited).load(("key",)) is None


def test_digest_covers_each_module_with_kernels():
    folder = Path(lensing.__file__).parent
    with_kernels = {path.name for path in folder.glob("*.py") if "@njit" in path.read_text()} - {"_outlines.py"}
    assert with_kernels <= set(_kernel_cache.SOURCES)  # _outlines.py calls no kernel of another file
