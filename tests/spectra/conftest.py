"""The atomic tables, loaded once for all tests."""

import pytest

from skytrace.spectra import AtomicOptions, load_atomic_data


@pytest.fixture(scope="session")
def atomic():
    """The default tables, with better-known gf values."""
    return load_atomic_data()


@pytest.fixture(scope="session")
def atomic_as_it_stands():
    """The tables that the TARDIS reference spectra were computed with."""
    return load_atomic_data(options=AtomicOptions(overrides=False))
