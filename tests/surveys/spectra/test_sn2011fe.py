"""The HST spectra of SN 2011fe as their provenance describes them."""

import numpy as np
import pytest

from skytrace.errors import SurveyError
from skytrace.surveys.spectra.options import SN2011feOptions
from skytrace.surveys.spectra.sn2011fe import read_sn2011fe, sn2011fe_table


@pytest.fixture
def spectra(real_data, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(real_data))
    if not (real_data / "spectra" / "sn2011fe").is_dir():
        pytest.skip(f"no folder spectra/sn2011fe in {real_data}")


def test_the_luminosity_of_the_spectrum_at_maximum_is_that_of_the_provenance(spectra):
    spectrum = read_sn2011fe()
    inside = (spectrum.wavelength_angstrom >= 3500) & (spectrum.wavelength_angstrom <= 9000)
    distance_cm = 10 ** (spectrum.distance_modulus_mag / 5 + 1) * 3.0856775814913673e18
    luminosity = 4 * np.pi * distance_cm**2 * np.trapezoid(spectrum.flux[inside], spectrum.wavelength_angstrom[inside])
    assert luminosity == pytest.approx(8.549e42, rel=0.01)
    assert (spectrum.frame, spectrum.dereddened, spectrum.redshift) == ("rest", True, 0.000804)
    assert spectrum.phase_day == pytest.approx(0.09)


def test_pixels_without_errors_are_masked_and_counted_and_the_ground_based_end_is_left_out(spectra):
    spectrum = read_sn2011fe()
    assert spectrum.mask.sum() == 46
    assert spectrum.handling == (
        "2162 pixels beyond 10200 A left out (ground-based, less certain)",
        "46 pixels with a flux have no finite, positive error",
        "46 pixels without an error masked",
    )


def test_the_single_epoch_file_holds_the_same_spectrum(spectra):
    one, of_all = read_sn2011fe(SN2011feOptions(file="sn2011fe_p00.1d.csv")), read_sn2011fe()
    np.testing.assert_allclose(one.flux, of_all.flux, rtol=1e-6)
    np.testing.assert_array_equal(one.wavelength_angstrom, of_all.wavelength_angstrom)


def test_every_epoch_is_read_whole_without_an_invented_gap(spectra):
    table = sn2011fe_table()
    for epoch, rows in table.groupby("epoch"):
        spectrum = read_sn2011fe(SN2011feOptions(epoch=str(epoch), longest_angstrom=25_000.0))
        assert len(spectrum.flux) == len(rows)
        assert not [words for words in spectrum.handling if "gap" in words]


def test_an_epoch_that_is_not_there_is_answered_with_those_that_are(spectra):
    with pytest.raises(SurveyError, match=r"epoch = '2011-09-13' is not among .*2011-08-28, .*2011-10-21"):
        read_sn2011fe(SN2011feOptions(epoch="2011-09-13"))
