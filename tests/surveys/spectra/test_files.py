"""A user's spectrum: units, air and vacuum, errors, gaps and contradictions, from text, ECSV and FITS."""

import contextlib

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from kedro.io import DatasetError

from skytrace.datasets import SpectrumFileDataset
from skytrace.errors import CatalogueError, OptionError, SurveyError
from skytrace.spectra.observed import check_absolute, observed_spectrum
from skytrace.spectra.observed_options import CleaningOptions, SourceOptions
from skytrace.spectra.wavelengths import vacuum_to_air
from skytrace.surveys.spectra.files import read_spectrum
from skytrace.surveys.spectra.interface import SpectrumSource
from skytrace.surveys.spectra.options import SpectrumFileOptions

WAVELENGTH = np.arange(3500.0, 8001.0, 5.0)
FLUX = 1e-15 * (1.0 + 0.3 * np.sin(WAVELENGTH / 300.0))
ERROR = 0.02 * FLUX
SOURCE = SourceOptions("SN X", frame="observed", medium="vacuum", dereddened=False, redshift=0.02)
KNOWN = {"name": "SN X", "frame": "observed", "medium": "vacuum", "dereddened": False, "redshift": 0.02}
CGS = "erg / (s cm2 Angstrom)"
UNITS = SpectrumFileOptions(wavelength_unit="Angstrom", flux_unit=CGS)


def write_text(path, *columns, header=""):
    np.savetxt(path, np.column_stack(columns), header=header, comments="", fmt="%.12e")
    return path


def ecsv(path, **meta):
    table = Table([WAVELENGTH * u.AA, FLUX * u.Unit(CGS), ERROR * u.Unit(CGS)], names=["wavelength", "flux", "error"])
    table.meta.update(meta)
    table.write(path, format="ascii.ecsv")
    return path


def assert_same(spectrum, rtol=1e-10):
    np.testing.assert_allclose(spectrum.wavelength_angstrom, WAVELENGTH, rtol=1e-12)
    np.testing.assert_allclose(spectrum.flux, FLUX, rtol=rtol)
    np.testing.assert_allclose(spectrum.error, ERROR, rtol=rtol)
    assert not spectrum.mask.any()


@pytest.mark.parametrize(("unit", "scale"), [("nm", 0.1), ("um", 1e-4), ("Angstrom", 1.0)])
def test_wavelengths_of_any_length_become_angstrom(tmp_path, unit, scale):
    file = write_text(tmp_path / "a.txt", WAVELENGTH * scale, FLUX, ERROR)
    spectrum = read_spectrum(
        file, source=SOURCE, options=SpectrumFileOptions(wavelength_unit=unit, flux_unit=CGS)
    )  # fmt: skip
    assert_same(spectrum)
    assert spectrum.handling[0] == "no header: the first columns are wavelength, flux, error"


def test_flux_per_frequency_becomes_flux_per_wavelength_with_its_error(tmp_path):
    to_mjy = WAVELENGTH**2 * 1e-8 / 2.99792458e10 * 1e26  # erg/s/cm2/A -> mJy: lambda^2 / c per cm, 1e26
    file = write_text(tmp_path / "a.csv", WAVELENGTH, FLUX * to_mjy, ERROR * to_mjy)
    spectrum = read_spectrum(file, source=SOURCE, options=SpectrumFileOptions("text", "Angstrom", "mJy"))
    assert_same(spectrum)


def test_a_scaled_unit_and_a_header_with_unusual_names_are_understood(tmp_path):
    file = write_text(tmp_path / "a.dat", WAVELENGTH, ERROR * 1e15, FLUX * 1e15, header="x s y")
    options = SpectrumFileOptions("text", "Angstrom", f"1e-15 {CGS}", wavelength="x", flux="y", error="s")
    assert_same(read_spectrum(file, source=SOURCE, options=options))


def test_ecsv_and_a_fits_table_state_their_own_units(tmp_path):
    assert_same(read_spectrum(ecsv(tmp_path / "a.ecsv"), source=SOURCE))
    Table.read(tmp_path / "a.ecsv", format="ascii.ecsv").write(tmp_path / "a.fits")
    assert_same(read_spectrum(tmp_path / "a.fits", source=SOURCE))


def test_a_fits_image_with_its_wavelengths_in_the_header_is_read(tmp_path):
    primary = fits.PrimaryHDU(FLUX)
    primary.header.update(CRVAL1=3500.0, CDELT1=5.0, CRPIX1=1.0, CTYPE1="WAVE", CUNIT1="Angstrom")
    primary.header["BUNIT"] = "erg / (s cm2 Angstrom)"
    fits.HDUList([primary, fits.ImageHDU(ERROR, name="ERR")]).writeto(tmp_path / "a.fits")
    assert_same(read_spectrum(tmp_path / "a.fits", source=SOURCE))


def test_air_wavelengths_become_vacuum_wavelengths(tmp_path):
    file = write_text(tmp_path / "a.txt", vacuum_to_air(WAVELENGTH), FLUX, ERROR)
    in_air = SourceOptions("SN X", frame="observed", medium="air", dereddened=False, redshift=0.02)
    spectrum = read_spectrum(file, source=in_air, options=UNITS)
    np.testing.assert_allclose(spectrum.wavelength_angstrom, WAVELENGTH, atol=1e-6)
    assert any("air wavelengths converted" in words for words in spectrum.handling)


def test_missing_and_contradicting_units_are_refused_by_name(tmp_path):
    file = write_text(tmp_path / "a.txt", WAVELENGTH, FLUX, ERROR)
    with pytest.raises(CatalogueError, match="states no unit and wavelength_unit is None"):
        read_spectrum(file, source=SOURCE)
    with pytest.raises(CatalogueError, match="states no unit and flux_unit is None"):
        read_spectrum(file, source=SOURCE, options=SpectrumFileOptions(wavelength_unit="Angstrom"))
    with pytest.raises(CatalogueError, match="is in Angstrom, but wavelength_unit = 'nm'"):
        read_spectrum(
            ecsv(tmp_path / "a.ecsv"), source=SOURCE, options=SpectrumFileOptions(wavelength_unit="nm")
        )  # fmt: skip
    with pytest.raises(CatalogueError, match="flux_unit = ct"):
        read_spectrum(file, source=SOURCE, options=SpectrumFileOptions(wavelength_unit="Angstrom", flux_unit="ct"))
    with pytest.raises(CatalogueError, match=r"350 to 800 is outside .*\[500, 60000\]; is wavelength_unit"):
        read_spectrum(write_text(tmp_path / "b.txt", WAVELENGTH / 10, FLUX, ERROR), source=SOURCE, options=UNITS)


def test_the_sign_of_the_redshift_is_checked_by_range_and_against_the_header(tmp_path):
    with pytest.raises(OptionError, match=r"redshift = -0.02 is outside its allowed range \[-0.01, 10\]"):
        SourceOptions("SN X", frame="observed", medium="vacuum", dereddened=True, redshift=-0.02)
    with pytest.raises(CatalogueError, match=r"says redshift = -0.008, but the option redshift = 0.008"):
        source = SourceOptions("SN X", frame="observed", medium="vacuum", dereddened=True, redshift=0.008)
        read_spectrum(ecsv(tmp_path / "a.ecsv", redshift=-0.008), source=source)
    with pytest.raises(CatalogueError, match=r"header's redshift = -0.5 is no number in \[-0.01, 10\]"):
        read_spectrum(ecsv(tmp_path / "b.ecsv", redshift=-0.5), source=SOURCE)
    with pytest.raises(CatalogueError, match="says frame = 'rest', but the option frame = 'observed'"):
        read_spectrum(ecsv(tmp_path / "c.ecsv", frame="rest"), source=SOURCE)
    nothing = SourceOptions("SN X", frame="observed", medium="vacuum", dereddened=True)
    with pytest.raises(CatalogueError, match="needs a redshift in"):
        read_spectrum(ecsv(tmp_path / "d.ecsv"), source=nothing)
    assert read_spectrum(ecsv(tmp_path / "e.ecsv", redshift=0.03), source=nothing).redshift == 0.03


def test_flux_without_errors_is_refused_or_given_errors_from_its_scatter(tmp_path):
    noise = np.random.default_rng(5).normal(size=WAVELENGTH.size) * ERROR
    file = write_text(tmp_path / "a.txt", WAVELENGTH, FLUX + noise)
    with pytest.raises(CatalogueError, match="errors = 'file'"):
        read_spectrum(file, source=SOURCE, options=UNITS)
    spectrum = read_spectrum(file, source=SOURCE, options=UNITS, cleaning=CleaningOptions(errors="scatter"))
    assert np.median(spectrum.error / ERROR) == pytest.approx(1.0, abs=0.06)
    assert "errors of 901 pixels estimated from the local scatter" in " ".join(spectrum.handling)


def test_nan_unsorted_and_repeated_wavelengths_and_gaps_are_handled_and_recorded():
    order = np.random.default_rng(1).permutation(WAVELENGTH.size)
    flux = FLUX.copy()
    flux[100] = np.nan
    outside = (WAVELENGTH < 5000) | (WAVELENGTH > 5200)  # 5000 ... 5200 A is a gap of 41 pixels
    columns = [column[order][outside[order]] for column in (WAVELENGTH, flux, ERROR)]
    again = [np.append(columns[0], 6000.0), np.append(columns[1], 3e-15), np.append(columns[2], ERROR[500])]
    spectrum = observed_spectrum(*again, source=SOURCE)
    np.testing.assert_allclose(spectrum.wavelength_angstrom, WAVELENGTH, rtol=1e-12)
    np.testing.assert_array_equal(np.flatnonzero(spectrum.mask), [100, *np.flatnonzero(~outside)])
    assert spectrum.flux[500] == pytest.approx((FLUX[500] + 3e-15) / 2)
    assert spectrum.error[500] == pytest.approx(ERROR[500] / np.sqrt(2))
    assert spectrum.handling == (
        "1 pixels without a finite flux masked",
        "wavelengths sorted into ascending order",
        "1 pixels repeat a wavelength: averaged with those they repeat",
        "gap from 4995.0 to 5205.0 A filled with masked pixels",
    )


@pytest.mark.parametrize("value", [-9999.0, 0.0])
def test_runs_of_fill_values_are_masked_and_recorded(value):
    flux = FLUX.copy()
    flux[200:260] = value
    flux[300:302] = value  # two alike may be what was seen
    spectrum = observed_spectrum(WAVELENGTH, flux, ERROR, source=SOURCE)
    np.testing.assert_array_equal(np.flatnonzero(spectrum.mask), np.arange(200, 260))
    assert spectrum.handling == (f"60 pixels of fill values ({value:g}; equal neighbours, not above 0) masked",)


def test_a_spectrum_of_the_wrong_sign_is_refused_and_a_negative_redshift_recorded():
    with pytest.raises(CatalogueError, match=r"the median flux = -1.*e-15 is not above 0; is its sign right"):
        observed_spectrum(WAVELENGTH, -FLUX, ERROR, source=SOURCE)
    near = SourceOptions("SN X", frame="observed", medium="vacuum", dereddened=True, redshift=-0.0004)
    words = "redshift = -0.0004 is negative: taken as of a galaxy that comes nearer"
    assert observed_spectrum(WAVELENGTH, FLUX, ERROR, source=near).handling == (words,)
    assert observed_spectrum(WAVELENGTH, FLUX, ERROR, source=SOURCE).handling == ()


def test_an_ampere_is_told_from_an_angstrom(tmp_path):
    file = write_text(tmp_path / "a.txt", WAVELENGTH, FLUX, ERROR)
    for options in (SpectrumFileOptions("text", "A", CGS), SpectrumFileOptions("text", "Angstrom", "erg/s/cm2/A")):
        with pytest.raises(CatalogueError, match=r"\(A is ampere: write Angstrom\)"):
            read_spectrum(file, source=SOURCE, options=options)


@pytest.mark.parametrize("unit", ["erg / (s cm2)", "W / m2"])
def test_a_flux_that_is_no_density_is_refused(tmp_path, unit):
    file = write_text(tmp_path / "a.txt", WAVELENGTH, FLUX, ERROR)
    with pytest.raises(CatalogueError, match="is no flux density by wavelength or frequency, such as erg"):
        read_spectrum(file, source=SOURCE, options=SpectrumFileOptions(wavelength_unit="Angstrom", flux_unit=unit))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, r"distance_modulus_mag in \[20, 50\] is needed"),
        ({"distance_modulus_mag": 29.0}, r"dereddened = False needs mwebv_mag in \[0, 5\]"),
        ({"distance_modulus_mag": 29.0, "mwebv_mag": 0.1}, None),
    ],
)
def test_what_a_luminosity_needs_is_asked_for_before_any_model_is_made(known, words):
    source = SourceOptions(**KNOWN, **known)
    with pytest.raises(CatalogueError, match=words) if words else contextlib.nullcontext():
        check_absolute(observed_spectrum(WAVELENGTH, FLUX, ERROR, source=source))


def test_coverage_that_is_empty_or_too_narrow_is_refused_with_the_range():
    narrow = WAVELENGTH < 6500
    with pytest.raises(CatalogueError, match=r"cover 3500.0 to 6495.0 A; covered_angstrom = \[4000, 7000\] is asked"):
        observed_spectrum(WAVELENGTH[narrow], FLUX[narrow], ERROR[narrow], source=SOURCE)
    with pytest.raises(CatalogueError, match="not one length of 1 or more"):
        observed_spectrum([], [], [], source=SOURCE)
    with pytest.raises(CatalogueError, match="the flux has no errors"):
        observed_spectrum(WAVELENGTH, np.full(WAVELENGTH.size, np.nan), ERROR, source=SOURCE)
    few = np.where(WAVELENGTH < 3600, FLUX, np.nan)
    with pytest.raises(CatalogueError, match="20 unmasked pixels; min_pixels = 50"):
        observed_spectrum(WAVELENGTH, few, ERROR, source=SOURCE)
    holes = np.where((WAVELENGTH > 4100) & (WAVELENGTH < 6900), np.nan, FLUX)
    with pytest.raises(CatalogueError, match=r"min_valid_fraction = 0.5 is asked"):
        observed_spectrum(WAVELENGTH, holes, ERROR, source=SOURCE)


def test_what_is_no_spectrum_is_refused(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"not a FITS file at all" * 200)
    (tmp_path / "a.txt").write_text("this is\nno spectrum, but words\n")
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04.")
    for name in ("a.fits", "a.txt", "a.pkl", "none.txt"):
        with pytest.raises((SurveyError, CatalogueError), match=name):
            read_spectrum(tmp_path / name, source=SOURCE, options=UNITS)
    with pytest.raises(SurveyError, match=r"more than max_file_mb = 0.001"):
        read_spectrum(ecsv(tmp_path / "b.ecsv"), source=SOURCE, options=SpectrumFileOptions(max_file_mb=1e-3))


def test_a_catalog_entry_hands_over_a_file_of_yours_and_the_manifest_knows_it(tmp_path):
    write_text(tmp_path / "mine.txt", WAVELENGTH * 0.1, FLUX, ERROR)
    reading = {"wavelength_unit": "nm", "flux_unit": CGS}
    entry = SpectrumFileDataset(
        folder=str(tmp_path), options={"file": "mine.txt", "source": KNOWN, "reading": reading}
    )  # fmt: skip
    assert entry.exists()
    loaded = entry.load()
    assert loaded.truth().empty
    assert isinstance(loaded, SpectrumSource)
    assert_same(loaded.spectrum())
    assert entry.source_files() == [tmp_path / "mine.txt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": KNOWN}, "spectrum's file lacks file; it needs file, source"),
        ({"file": "a.txt", "source": {"name": "X"}}, "source lacks frame, medium, dereddened"),
        ({"file": "../a.txt", "source": KNOWN}, r"file = '\.\./a\.txt' is not the name of a file in the folder"),
        ({"file": "a.txt", "source": KNOWN, "reading": {"unit": "nm"}}, "unit"),
        ({"file": "a.txt", "sorce": KNOWN}, "sorce"),
        ({"file": "a.txt", "source": {**KNOWN, "redshift": -0.02}}, r"redshift = -0\.02 is outside"),
    ],
)
def test_an_entry_that_lacks_something_is_refused_by_name(tmp_path, options, words):
    with pytest.raises(DatasetError, match=words):
        SpectrumFileDataset(folder=str(tmp_path), options=options).load()
