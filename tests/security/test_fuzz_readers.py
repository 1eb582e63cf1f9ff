"""Every reader of outside files, fed with broken ones: a table that holds what it promises, or an error of ours that
names the file; no other exception, no memory without bound, no hang.

SKYTRACE_FUZZ_EXAMPLES=5000 tries that many new ones of each reader instead of the few that are always the same.
"""

import contextlib
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrace.compute import load_npz, save_npz
from skytrace.compute.table_shards import read_shard, save_shard
from skytrace.errors import SkytraceError
from skytrace.surveys.interface import GALAXY_COLUMNS
from tests.security.limits import limited_memory
from tests.security.mutations import FUZZ, broken_bytes
from tests.surveys import legacy_files, snana_files

LIGHT_CURVES = pd.DataFrame(
    {
        "snid": ["a", "a", "b", "b"], "mjd": [56000.0, 56003.0, 56001.0, 56009.0], "band": ["g", "r", "g", "r"],
        "flux_jy": [3e-5, 2e-5, -1e-7, 4e-5], "flux_err_jy": 1e-6, "wavelength_nm": [480.0, 640.0, 480.0, 640.0],
        "z_hel": [0.1, 0.1, 0.2, 0.2], "survey": "DES",
    }
)  # fmt: skip
HUBBLE = pd.DataFrame({"CID": ["a", "b"], "zHD": [0.1, 0.2], "zHEL": [0.1, 0.2], "MU": [38.3, 40.0], "MUERR": 0.1})


@dataclass(frozen=True)
class Reader:
    """suffix: of the file. kind: of the changes. make(folder) -> the valid file. read(path); check(what it gave)."""

    suffix: str
    kind: str
    make: Any
    read: Any
    check: Any


def _spectrum_text(path):
    wavelength = np.arange(3500.0, 8000.0, 50.0)
    columns = np.column_stack([wavelength, 1e-15 + 1e-19 * wavelength, 1e-17 + 0 * wavelength])
    np.savetxt(path, columns, header="wavelength_angstrom flux error", comments="", fmt="%.9e")


def _spectrum_table(path, **how):
    from astropy import units as u
    from astropy.table import Table

    wavelength = np.arange(3500.0, 8000.0, 50.0)
    flux = (1e-15 + 1e-19 * wavelength) * u.Unit("erg / (s cm2 Angstrom)")
    Table([wavelength * u.AA, flux, 0.01 * flux], names=["wavelength", "flux", "error"]).write(path, **how)


def _read_spectrum(path):
    from skytrace.spectra.observed_options import SourceOptions
    from skytrace.surveys.spectra.files import read_spectrum
    from skytrace.surveys.spectra.options import SpectrumFileOptions

    source = SourceOptions("SN X", frame="observed", medium="vacuum", dereddened=False, redshift=0.02)
    text = path.suffix in (".txt", ".csv")
    unit = {"wavelength_unit": "Angstrom", "flux_unit": "erg / (s cm2 Angstrom)"} if text else {}
    return read_spectrum(path, source=source, options=SpectrumFileOptions(**unit))


def _is_spectrum(found):
    wavelength, used = found.wavelength_angstrom, ~found.mask
    assert (np.diff(wavelength) > 0).all() and (wavelength > 0).all()
    assert np.isfinite(found.flux[used]).all() and np.isfinite(found.error[used]).all()
    assert (found.error[used] > 0).all() and used.sum() >= 2


def _wcs_image(path, shape=(40, 40), dtype=np.float32, **header):
    from astropy.io import fits

    pixels = np.random.default_rng(1).normal(size=shape).astype(dtype)
    hdu = fits.PrimaryHDU(pixels, legacy_files.brick_wcs(150.0, 2.0, shape[-1]).to_header())
    hdu.header.update(header)
    hdu.writeto(path)


def _field(path):
    from tests.surveys.test_decam_fields import write_field

    rng = np.random.default_rng(2)
    write_field(path, rng.normal(size=(3, 30, 30)).astype("f4"), np.ones((3, 30, 30), "f4"), np.ones((3, 30, 30), "i2"))


def _read_field(path):
    from skytrace.surveys.decam_fields import read_field

    return read_field(path)


def _read_mosaic(path):
    from skytrace.surveys.clusters.mosaic import read_mosaic

    return read_mosaic(path)


def _is_field(found):
    assert found.image.shape == found.invvar.shape == (3, *found.maskbits.shape)
    assert np.isfinite(found.image).all() and (found.invvar >= 0).all()
    assert (found.psf_fwhm_arcsec > 0).all()


def _is_mosaic(found):
    assert found.image.ndim == 2 and found.image.dtype == np.float32
    assert found.wcs.has_celestial and not np.isinf(found.image).any() and found.pixel_scale_arcsec > 0


def _brick(path):
    wcs = legacy_files.brick_wcs(150.0, 2.0, 60)
    pixels = np.random.default_rng(3).normal(size=(60, 60)).astype(np.float32)
    planes = {("image", "r"): pixels, ("invvar", "r"): np.ones((60, 60), np.float32)}
    folder = legacy_files.write_brick(path.parent / "coadd", "1500p020", planes, wcs)
    path.write_bytes((folder / "legacysurvey-1500p020-image-r.fits.fz").read_bytes())


def _read_brick(path):
    from skytrace.surveys.legacy_survey.bricks import brick_path, brick_stamps

    coadd = path.parent / "coadd"
    brick_path(coadd, "1500p020", "image", "r").write_bytes(path.read_bytes())
    try:
        return brick_stamps(coadd, "1500p020", [150.0], [2.0], size=16)
    except SkytraceError as error:
        if str(coadd) in str(error) or "brick 1500p020" in str(error):
            raise SkytraceError(f"{path}: {error}") from error
        raise


def _is_brick(found):
    image, invvar, maskbits, _ = found
    assert image.shape == invvar.shape == (1, 3, 16, 16) and maskbits.shape == (1, 16, 16)
    assert np.isfinite(image).all() and (invvar >= 0).all()


def _answer(path):
    image = np.random.default_rng(4).normal(size=(3, 16, 16)).astype(np.float32)
    path.write_bytes(legacy_files.answer(image, np.ones_like(image), np.zeros((16, 16), np.int16)))


def _read_answer(path):
    from skytrace.surveys.legacy_survey.service import parse_cutout

    return parse_cutout(path.read_bytes(), str(path), size=16, pixel_scale_arcsec=0.262)


def _is_answer(found):
    assert found.image.shape == (3, 16, 16) and np.isfinite(found.image).all()
    assert found.invvar is None or ((found.invvar >= 0).all() and np.isfinite(found.invvar).all())


def _sweep(path):
    legacy_files.write_sweep(path, legacy_files.sweep_rows())


def _read_sweep(path):
    from skytrace.surveys.legacy_survey.sweeps import read_sweep

    return read_sweep(path)


def _is_sweep(found):
    assert list(found.columns) == [*GALAXY_COLUMNS, "brickname"]
    assert found["galaxy_id"].map(type).eq(str).all()


def _clusters(path):
    from astropy.table import Table

    table = pd.DataFrame(
        {"ID": [1, 2, 3], "RA": [10.0, 11.0, 12.0], "DEC": 0.5, "Z": 0.4, "known": [True, False, True]}
    )
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        Table.from_pandas(table).write(path, format="fits")


def _read_clusters(path):
    from skytrace.surveys.clusters.tables import read_cluster_table

    return read_cluster_table(path, {"cluster_id": "ID", "ra": "RA", "dec": "DEC", "redshift": "Z"})


def _is_cluster_table(found):
    assert list(found.columns) == ["cluster_id", "ra", "dec", "redshift"]
    assert found["cluster_id"].map(type).eq(str).all()


def _snana(which):
    def make(path):
        head, phot = snana_files.write_fits(path.parent)
        path.write_bytes((head if which == "head" else phot).read_bytes())

    def read(path):
        from skytrace.surveys.supernovae.snana import read_snana_fits

        head, phot = path.parent / "SMALL_HEAD.FITS", path.parent / "SMALL_PHOT.FITS"
        return read_snana_fits(path, phot) if which == "head" else read_snana_fits(head, path)

    return Reader(".FITS", "fits", make, read, _is_snana)


def _snana_text(path):
    folder = path.parent / "texts"
    folder.mkdir()
    path.write_bytes(snana_files.write_text(folder)[1].read_bytes())


def _read_snana_text(path):
    from skytrace.surveys.supernovae.snana import read_snana_text

    return read_snana_text([path])


def _is_snana(found):
    objects, photometry = found
    assert set(photometry["snid"]) <= set(objects["snid"])
    assert photometry[["fluxcal", "fluxcal_err"]].dtypes.eq(float).all()
    assert list(objects) == ["snid", "z_hel", "z_cmb", "mwebv", "sntype", "peakmjd"]


def _read_light_curves(path):
    from skytrace.supernovae.light_curves import validate_light_curves
    from skytrace.surveys.supernovae.tables import TabulatedSupernovae

    survey = TabulatedSupernovae(path.parent, {"light_curves": path.name, "survey": "DES", "index": None, "hubble": {}})
    table = survey.light_curves()
    with contextlib.suppress(SkytraceError):  # of what the table says; no longer of the file
        return validate_light_curves(table)[0]
    return LIGHT_CURVES


def _is_light_curves(found):
    assert np.isfinite(found[["mjd", "flux_jy", "flux_err_jy", "z_hel"]]).all().all()
    assert (found["flux_err_jy"] > 0).all()


def _read_hubble(path):
    from skytrace.surveys.supernovae.tables import read_hubble_table

    return read_hubble_table(path)


def _is_hubble(found):
    assert not (found["mu_err_mag"] <= 0).any() and found["snid"].map(type).eq(str).all()
    assert found[["z_hd", "mu_mag", "alpha"]].dtypes.eq(float).all()


def _read_sn2011fe(path):
    from skytrace.surveys.spectra.options import SN2011feOptions
    from skytrace.surveys.spectra.sn2011fe import read_sn2011fe

    return read_sn2011fe(SN2011feOptions(folder=str(path.parent), file=path.name, epoch="P00"))


def _sn2011fe(path):
    wavelength = np.arange(1600.0, 9000.0, 50.0)
    table = pd.DataFrame({"epoch": "P00", "mjd": 55814.0, "phase_day": 0.0, "wavelength_angstrom": wavelength,
                          "flux": 1e-13, "flux_err": 1e-15})  # fmt: skip
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)


def _is_arrays(found):
    assert all(isinstance(values, np.ndarray) and not values.dtype.hasobject for values in found.values())


def _shard(path):
    save_shard(pd.DataFrame({"id": [1, 2, 3], "name": ["a", "b", "c"], "x": [0.5, 1.5, np.nan]}), path)


def _is_shard(found):
    assert found["id"].tolist() == [1, 2, 3] and found["name"].tolist() == ["a", "b", "c"]


def _report(path):
    path.write_text(json.dumps({"auc": {"value": 0.9, "low": [0.8, 0.85]}, "n": 3}), encoding="utf-8")


def _read_report(path):
    from skytrace.provenance.report_values import read_value

    return read_value(path, "auc.low.1" if path.suffix == ".json" else "#2/MU")


def _read_filters(path):
    from skytrace.surveys.supernovae.snana import SnanaSupernovae

    survey = SnanaSupernovae(path.parent, {"survey": "DES", "filters": path.name, "text": "*.dat"})
    return survey.light_curves()


def _filters(path):
    snana_files.write_text(path.parent)
    path.write_bytes(snana_files.write_filters(path.parent).read_bytes())


def _is_filtered(found):
    assert found["wavelength_nm"].dtype == float and found["flux_jy"].dtype == float and len(found) == 5


def _checkpoint(path):
    from safetensors.numpy import save_file

    save_file({"w": np.ones(3, np.float32)}, path, metadata={"progress": json.dumps({"epoch": 3})})


def _read_checkpoint(path):
    from skytrace.learning.checkpoint import Checkpoint

    target = Checkpoint(path.parent, "key")
    target.path.parent.mkdir(exist_ok=True)
    target.path.write_bytes(path.read_bytes())
    try:
        return target.load()
    except SkytraceError as error:
        assert str(target.path) in str(error)
        raise SkytraceError(f"{path}: {error}") from error


def _selection_function(path):
    from tests.selection.test_selection_function import surface

    table = surface()
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)


def _table_of(frame):
    return lambda path: frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)


READERS = {
    "spectrum, text": Reader(".txt", "text", _spectrum_text, _read_spectrum, _is_spectrum),
    "spectrum, ecsv": Reader(".ecsv", "text", lambda path: _spectrum_table(path, format="ascii.ecsv"), _read_spectrum,
                             _is_spectrum),
    "spectrum, table in fits": Reader(".fits", "fits", _spectrum_table, _read_spectrum, _is_spectrum),
    "field": Reader(".fits", "fits", _field, _read_field, _is_field),
    "mosaic": Reader(".fits", "fits", _wcs_image, _read_mosaic, _is_mosaic),
    "brick": Reader(".fits.fz", "fits", _brick, _read_brick, _is_brick),
    "answer of the cutout service": Reader(".fits", "fits", _answer, _read_answer, _is_answer),
    "sweep": Reader(".fits", "fits", _sweep, _read_sweep, _is_sweep),
    "clusters, fits": Reader(".fits", "fits", _clusters, _read_clusters, _is_cluster_table),
    "clusters, csv": Reader(".csv", "text", _clusters, _read_clusters, _is_cluster_table),
    "clusters, parquet": Reader(".parquet", "binary", _clusters, _read_clusters, _is_cluster_table),
    "SNANA, head": _snana("head"),
    "SNANA, photometry": _snana("phot"),
    "SNANA, text": Reader(".dat", "text", _snana_text, _read_snana_text, _is_snana),
    "filters": Reader(".csv", "text", _filters, _read_filters, _is_filtered),
    "light curves, csv": Reader(".csv", "text", _table_of(LIGHT_CURVES), _read_light_curves, _is_light_curves),
    "light curves, parquet": Reader(".parquet", "binary", _table_of(LIGHT_CURVES), _read_light_curves,
                                    _is_light_curves),
    "Hubble table, csv": Reader(".csv", "text", _table_of(HUBBLE), _read_hubble, _is_hubble),
    "SN 2011fe, csv": Reader(".csv", "text", _sn2011fe, _read_sn2011fe, _is_spectrum),
    "npz": Reader(".npz", "binary", lambda path: save_npz(path, compress=["b"], a=np.arange(5), b=np.zeros((9, 9))),
                  load_npz, _is_arrays),
    "shard": Reader(".parquet", "binary", _shard, read_shard, _is_shard),
    "report, json": Reader(".json", "text", _report, _read_report, lambda found: None),
    "report, csv": Reader(".csv", "text", _table_of(HUBBLE), _read_report, lambda found: None),
    "checkpoint": Reader(".safetensors", "binary", _checkpoint, _read_checkpoint, lambda found: None),
}  # fmt: skip


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """The valid file of each reader, made once."""
    made = {}

    def of(name):
        if name not in made:
            path = tmp_path_factory.mktemp("reader") / f"file{READERS[name].suffix}"
            READERS[name].make(path)
            made[name] = path, path.read_bytes()
        return made[name]

    return of


def attempt(reader, path):
    """Read the file as it is: what was read is held against its promise, an error against the name of the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with limited_memory(1.5e9):
                found = reader.read(path)
        except SkytraceError as error:
            assert path.name in str(error) or str(path.parent) in str(error), f"does not name the file: {error}"
            return False
        reader.check(found)
    return True


@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_refused_by_name_or_read_as_promised(name, valid):
    reader = READERS[name]
    path, content = valid(name)
    path.write_bytes(content)
    reader.check(reader.read(path))  # without limits: libraries are loaded here
    assert attempt(reader, path), "the valid file is not read"

    @FUZZ
    @given(st.data())
    def try_broken(data):
        path.write_bytes(data.draw(broken_bytes(content, kind=reader.kind)))
        attempt(reader, path)

    try_broken()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [b"", b"\0" * 3000, b"\xff" * 100, b"\n\n\n", b"SIMPLE  =                    T"])
def test_a_file_of_nothing_is_refused_by_name(name, content, valid):
    reader = READERS[name]
    path, whole = valid(name)
    path.write_bytes(whole)
    reader.read(path)
    path.write_bytes(content)
    assert not attempt(reader, path)


def test_a_reader_that_breaks_its_promise_is_found(tmp_path):
    def read(path):
        if path.read_bytes() == b"bad":
            raise SkytraceError("something is wrong")
        raise KeyError("x")

    path = tmp_path / "file.bin"
    path.write_bytes(b"bad")
    with pytest.raises(AssertionError, match="does not name the file"):
        attempt(Reader("", "", None, read, None), path)
    path.write_bytes(b"other")
    with pytest.raises(KeyError):
        attempt(Reader("", "", None, read, None), path)


def test_memory_is_really_limited(tmp_path):
    with pytest.raises(MemoryError), limited_memory(2e8):
        io.BytesIO(bytes(4 * 10**8))
    assert len(bytes(4 * 10**8)) == 4 * 10**8
    assert Path("/proc/self/statm").exists()
