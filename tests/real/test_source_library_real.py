"""HST stamps of real galaxies as a source library."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import SurveyError
from skytrace.lensing.source_library import build_library
from skytrace.surveys.hst_sources import read_source_stamps


@pytest.fixture(scope="module")
def folder(real_data):
    folder = real_data / "imaging" / "hst_source_galaxies"
    if not folder.is_dir():
        pytest.skip(f"no HST source stamps in {folder}")
    return folder


def test_real_stamps_become_sources_with_the_published_size(folder):
    stamps = read_source_stamps(folder)
    library = build_library(stamps)
    assert len(library) == 7 and library.images.sum(axis=(1, 2)) == pytest.approx(1.0, abs=1e-5)
    radius = dict(zip(library.names, library.half_light_radius_px * 0.03, strict=True))
    assert all(0.05 < value < 1.5 for value in radius.values())
    fits = pd.read_parquet(folder / "cosmos_sersic_fits_100.parquet").set_index("ident")
    if 147246 in fits.index:  # COSMOS 147246, Sersic fit of the same image
        assert radius["cosmos_147246_F814W"] == pytest.approx(fits.loc[147246, "sersic_hlr_arcsec_circ"], rel=0.25)


def test_a_galaxy_has_about_one_size_in_two_bands(folder):
    blue, red = (build_library(read_source_stamps(folder, band=band)) for band in ("F606W", "F814W"))
    sizes = [
        dict(zip((n.rsplit("_", 1)[0] for n in lib.names), lib.half_light_radius_px, strict=True))
        for lib in (blue, red)
    ]
    ratio = np.array([sizes[0][name] / sizes[1][name] for name in sizes[0]])
    assert len(ratio) == 5 and 0.6 < np.median(ratio) < 1.6


def test_a_folder_without_stamps_is_named(tmp_path):
    with pytest.raises(SurveyError, match="hst_stamps"):
        read_source_stamps(tmp_path)
