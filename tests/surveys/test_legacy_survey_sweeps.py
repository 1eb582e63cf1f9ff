"""Sweep tables: names in either case, bounded chunks, identifiers, limits, and what is wrong with a bad one."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from skytrace.errors import CatalogueError, OptionError, SurveyError
from skytrace.surveys.interface import GALAXY_COLUMNS
from skytrace.surveys.legacy_survey import LegacySurvey, LegacySurveyOptions
from skytrace.surveys.legacy_survey.sweeps import read_sweep, sweep_chunks
from tests.surveys.legacy_files import sweep_rows, write_sweep


def test_rows_come_back_value_for_value_with_release_brick_object_ids(tmp_path):
    rows = sweep_rows(7)
    table = read_sweep(write_sweep(tmp_path / "sweep.fits", rows))
    assert table.columns.tolist() == [*GALAXY_COLUMNS, "brickname"]
    assert table["galaxy_id"].tolist() == [f"10000-333333-{objid}" for objid in rows["objid"]]
    for name in ("ra", "flux_g", "flux_ivar_z", "shape_e2", "psfdepth_r", "galdepth_z", "ebv", "sersic"):
        np.testing.assert_array_equal(table[name], rows[name].astype(float))
    assert table["type"].tolist() == rows["type"].tolist()
    assert table["nobs_r"].tolist() == [4] * 7


def test_names_in_lower_case_give_the_same_table(tmp_path):
    rows = sweep_rows(7)
    upper = read_sweep(write_sweep(tmp_path / "upper.fits", rows))
    lower = read_sweep(write_sweep(tmp_path / "lower.fits", rows, upper=False))
    pd.testing.assert_frame_equal(upper, lower)


def test_chunk_size_changes_neither_rows_nor_order_and_bounds_what_is_held(tmp_path):
    path = write_sweep(tmp_path / "sweep.fits", sweep_rows(11))
    whole = read_sweep(path)
    for chunk_rows in (1, 4, 11):
        pd.testing.assert_frame_equal(read_sweep(path, chunk_rows=chunk_rows), whole)
        assert [len(chunk) for chunk in sweep_chunks(path, chunk_rows=chunk_rows)] == (
            [chunk_rows] * (11 // chunk_rows) + ([11 % chunk_rows] if 11 % chunk_rows else [])
        )


def test_agrees_with_astropys_own_reader(tmp_path):
    path = write_sweep(tmp_path / "sweep.fits", sweep_rows(20))
    theirs = fits.getdata(path, 1, memmap=False)
    ours = read_sweep(path, chunk_rows=6)
    for name in GALAXY_COLUMNS[1:]:
        expected = theirs[name.upper()]
        if expected.dtype.kind in "SU":
            assert ours[name].tolist() == [str(value).strip() for value in expected]
        else:
            np.testing.assert_array_equal(ours[name], expected)


def test_unsigned_columns_stored_with_a_zero_point_are_unscaled(tmp_path):
    rows = sweep_rows(3)
    path = write_sweep(tmp_path / "sweep.fits", rows)
    with fits.open(path, memmap=False) as hdus:
        columns = [c for c in hdus[1].columns if c.name != "MASKBITS"]
        columns.append(fits.Column("MASKBITS", "I", bzero=32768, array=np.array([0, 40000, 65535], dtype=np.uint16)))
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "u.fits")
    assert read_sweep(tmp_path / "u.fits")["maskbits"].tolist() == [0, 40000, 65535]


def test_magnitude_limit_is_on_z_and_drops_fluxes_that_are_not_positive(tmp_path):
    rows = sweep_rows(4)
    rows["flux_z"] = np.array([10.0, 3.9, -1.0, 4.0], dtype=np.float32)
    kept = read_sweep(write_sweep(tmp_path / "sweep.fits", rows), mag_z_limit=21.0)  # 3.98 nanomaggies
    assert kept["galaxy_id"].str[-1].tolist() == ["7", "0"]


def test_sky_box_wraps_through_zero_right_ascension(tmp_path):
    rows = sweep_rows(5)
    rows["ra"] = [359.5, 0.5, 10.0, 358.0, 0.9]
    kept = read_sweep(write_sweep(tmp_path / "sweep.fits", rows), sky_box_deg=(359.0, 1.0, -10.0, 10.0))
    assert kept["ra"].tolist() == [359.5, 0.5, 0.9]


def test_every_missing_column_is_named(tmp_path):
    path = write_sweep(tmp_path / "old.fits", sweep_rows(3), drop=("ebv", "psfsize_g"))
    with pytest.raises(SurveyError, match=r"lacks columns psfsize_g, ebv"):
        read_sweep(path)


def test_truncated_sweep_says_in_which_row_it_ends(tmp_path):
    path = write_sweep(tmp_path / "sweep.fits", sweep_rows(500))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(SurveyError, match=r"ends in row \d+ of 500"):
        read_sweep(path)


def test_a_file_that_is_no_table_is_named(tmp_path):
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    (tmp_path / "text.fits").write_text("not fits")
    for name, message in (("image.fits", "no binary table"), ("text.fits", "text.fits cannot be read as FITS")):
        with pytest.raises(SurveyError, match=message):
            read_sweep(tmp_path / name)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    return tmp_path


def test_missing_folder_names_the_folder_the_files_and_the_variable(root, monkeypatch):
    with pytest.raises(SurveyError, match=r"legacy_survey/sweeps; \$SKYTRACE_DATA is .*sweep-\*\.fits.*real_data\.md"):
        LegacySurvey().galaxies()
    monkeypatch.delenv("SKYTRACE_DATA")
    monkeypatch.chdir(root)
    with pytest.raises(SurveyError, match=r"data/00_external.*\$SKYTRACE_DATA is not set"):
        LegacySurvey().galaxies()


def test_fluxes_in_another_unit_are_refused(root):
    rows = sweep_rows(6)
    for band in "grz":
        rows[f"flux_{band}"] = (rows[f"flux_{band}"] * 1e-9).astype(np.float32)  # maggies
    write_sweep(root / "legacy_survey/sweeps/s.fits", rows)
    with pytest.raises(CatalogueError, match="not in nanomaggies"):
        LegacySurvey({"mag_z_limit": None}).galaxies()


def test_a_download_that_was_killed_half_way_is_no_sweep(root):
    folder = root / "legacy_survey/sweeps"
    write_sweep(folder / "a.fits", sweep_rows(4))
    half = (folder / "a.fits").read_bytes()[:-2880]
    (folder / ".b.fits.host-17-4.partial.fits").write_bytes(half)
    assert len(LegacySurvey({"mag_z_limit": None}).galaxies()) == 4


def test_a_galaxy_in_two_sweeps_is_named(root):
    for name in ("a", "b"):
        write_sweep(root / f"legacy_survey/sweeps/{name}.fits", sweep_rows(4))
    with pytest.raises(CatalogueError, match=r"repeats galaxy_id 10000-333333-7.*\(4 in all\)"):
        LegacySurvey().galaxies()


def test_limits_that_leave_nothing_are_an_empty_table_error(root):
    write_sweep(root / "legacy_survey/sweeps/a.fits", sweep_rows(4))
    with pytest.raises(CatalogueError, match="is empty"):
        LegacySurvey({"sky_box_deg": [0.0, 1.0, -1.0, 1.0]}).galaxies()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"route": "tape"}, "route = 'tape'"),
        ({"base_url": "file:///etc"}, "base_url"),
        ({"rate_per_s": 0.0}, "rate_per_s"),
        ({"attempts": 0}, "attempts"),
        ({"layer": "ls-dr10&size=9"}, "layer"),
        ({"sky_box_deg": [0, 1, 5, -5]}, "sky_box_deg dec_max"),
        ({"anchor_fraction": 1.5}, "anchor_fraction"),
    ],
)
def test_options_out_of_range_name_the_key(options, key):
    with pytest.raises(OptionError, match=key):
        LegacySurveyOptions(**options)
