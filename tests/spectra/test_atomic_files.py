"""A damaged or missing file is named, with what was expected and what was found."""

import hashlib
import shutil
import subprocess
import sys

import pytest

from skytrace.errors import CatalogueError, SurveyError
from skytrace.spectra import load_atomic_data
from skytrace.spectra.atomic_files import (
    LEVEL_FILE,
    LINE_FILE,
    SHA256,
    atomic_constants,
    line_list_folder,
    read_levels,
    read_lines,
)

SILICON = {"atomic_numbers": (14,), "highest_stage": 4}


@pytest.fixture
def copied(tmp_path):
    """A folder with the level file and one flipped bit in the line file."""
    shutil.copy(line_list_folder() / LEVEL_FILE, tmp_path)
    content = bytearray((line_list_folder() / LINE_FILE).read_bytes())
    content[1_000_000] ^= 1
    (tmp_path / LINE_FILE).write_bytes(content)
    return tmp_path


def test_a_flipped_bit_names_the_file_and_both_sums(copied):
    found = hashlib.sha256((copied / LINE_FILE).read_bytes()).hexdigest()
    with pytest.raises(SurveyError) as caught:
        load_atomic_data(folder=copied)
    for part in (str(copied / LINE_FILE), SHA256[LINE_FILE], found, "reinstall pyemili==1.2.0"):
        assert part in str(caught.value)


def test_a_level_file_cut_short_is_refused(copied):
    (copied / LEVEL_FILE).write_bytes((copied / LEVEL_FILE).read_bytes()[:-100])
    with pytest.raises(SurveyError, match=rf"{LEVEL_FILE} is not the one of pyemili 1.2.0.*{SHA256[LEVEL_FILE]}"):
        read_levels(copied, **SILICON)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SurveyError, match=f"cannot read the atomic file .*{LINE_FILE}: No such file"):
        read_lines(tmp_path, **SILICON)


def test_an_ion_without_levels_is_named():
    with pytest.raises(CatalogueError, match="has no level of Z = 31 stage 8"):
        read_levels(line_list_folder(), atomic_numbers=(31,), highest_stage=8)


def test_constants_are_those_that_mendeleev_tells():
    element = pytest.importorskip("mendeleev").element
    masses, energies = atomic_constants((6, 14, 26), highest_stage=4)
    for z, mass in zip((6, 14, 26), masses, strict=True):
        known = element(z)
        assert mass == known.atomic_weight
        assert energies[z].tolist() == [known.ionenergies[stage] for stage in range(1, 5)]
    assert energies[26] == pytest.approx([7.9025, 16.1992, 30.651, 54.91], abs=1e-3)  # NIST


def test_an_unknown_element_has_no_constants():
    with pytest.raises(CatalogueError, match="mendeleev knows no ionisation energy of stage 1 of Z = 150"):
        atomic_constants((150,), highest_stage=1)


def test_loading_imports_nothing_of_the_packages_that_bring_the_files():
    code = (
        "import sys; from skytrace.spectra import load_atomic_data, AtomicOptions; "
        "load_atomic_data(options=AtomicOptions(elements=('Si',))); "
        "print([name for name in ('pyemili', 'mendeleev', 'sqlalchemy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"
