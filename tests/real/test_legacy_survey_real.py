"""The Legacy Surveys readers against real files: brick names, catalogue rows, official coadd pixels, published
lenses.
"""

import numpy as np
import pandas as pd
import pytest

from skytrace.sky.selection import TIERS
from skytrace.surveys.interface import check_galaxies
from skytrace.surveys.legacy_survey import LegacySurvey
from skytrace.surveys.legacy_survey.bricks import brick_names
from skytrace.surveys.legacy_survey.lenses import lens_table, read_lens_catalog
from skytrace.surveys.legacy_survey.sweeps import read_sweep
from tests.surveys.cutout_server import serving
from tests.surveys.legacy_files import answer, brick_wcs, sweep_rows, write_brick, write_sweep


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    return tmp_path


def test_brick_names_of_48_thousand_real_galaxies(real_data):
    table = pd.read_parquet(real_data / "imaging" / "catalogs" / "negative_positions.parquet")
    assert len(table) > 40_000
    np.testing.assert_array_equal(brick_names(table["RA"], table["DEC"]), table["brick"].to_numpy(dtype=str))


def real_rows(real_data):
    """Real Tractor rows (DR3, 7, 8) under the names of a DR10.1 sweep; what those releases lack is filled, not
    measured.
    """
    rows = pd.read_parquet(real_data / "imaging" / "catalogs" / "tractor_rows.parquet")
    # the collection is of targeting tests: its stars are the Milky Way's brightest, its galaxies ordinary
    rows = rows[rows["type"].isin(["DEV", "EXP", "REX", "COMP"])]
    rows = rows.drop_duplicates(["release", "brickid", "objid"]).reset_index(drop=True)
    table = sweep_rows(len(rows)).drop(columns="brickname")
    for name in table.columns.intersection(rows.columns):
        table[name] = rows[name].to_numpy() if name == "type" else rows[name].fillna(0).to_numpy(table[name].dtype)
    table["brickname"] = rows["brickname"].to_numpy(dtype=str)
    table["type"] = rows["type"].astype(str).str[:3]
    return rows, table


def test_real_catalogue_rows_survive_a_sweep_value_for_value(real_data, tmp_path):
    rows, table = real_rows(real_data)
    read = read_sweep(write_sweep(tmp_path / "sweep.fits", table), chunk_rows=50)
    assert check_galaxies(read, source="tractor rows") is read
    expected = rows["release"].astype(str) + "-" + rows["brickid"].astype(str) + "-" + rows["objid"].astype(str)
    assert read["galaxy_id"].tolist() == expected.tolist()
    for name in ("flux_r", "flux_ivar_g", "psfdepth_z", "galdepth_r"):
        np.testing.assert_allclose(read[name], rows[name], rtol=1e-6)
    np.testing.assert_array_equal(read["ra"], rows["ra"])


def test_published_lenses_become_systems_with_tiers(real_data):
    catalog = read_lens_catalog(real_data / "imaging" / "catalogs" / "lens_catalog.parquet")
    graded = catalog[~catalog["cluster_survey_only"] & (catalog["lens_type"] == "galaxy") & (catalog["grade"] == "A")]
    galaxies = pd.DataFrame({
        "galaxy_id": [f"g{k}" for k in range(len(graded))],
        "ra": graded["ra"].to_numpy(), "dec": graded["dec"].to_numpy(),
    })  # fmt: skip
    lenses = lens_table(catalog, galaxies, anchor_fraction=0.3)
    assert lenses["lens_id"].is_unique and set(lenses["tier"]) <= set(TIERS)
    assert len(lenses) == catalog.loc[~catalog["cluster_survey_only"], "system_id"].nunique()
    matched = lenses[lenses["galaxy_id"] != ""]
    # grade-A systems, some of them confirmed by another table
    assert len(matched) > 300 and (matched["tier"].isin(["A", "confirmed"])).mean() > 0.95
    assert 0.2 < matched.loc[matched["tier"] != "B", "is_anchor"].mean() < 0.4
    assert not lenses.loc[lenses["galaxy_id"] == "", "is_anchor"].any()


def test_official_coadd_pixels_survive_the_brick_route(real_data, root):
    """Real DR6 coadd pixels, compressed as a brick, come back value for value; only g was observed there."""
    stamps = np.load(real_data / "imaging" / "dr6_brick_0959p805_g" / "cutouts.npz", allow_pickle=False)
    image, invvar = stamps["image"][0], np.maximum(stamps["invvar"][0], 0)
    wcs = brick_wcs(95.9, 80.5, 101)
    planes = {("image", "g"): image, ("invvar", "g"): invvar}
    write_brick(root / "legacy_survey/coadd", "0959p805", planes, wcs)
    rows = sweep_rows(1)
    rows["ra"], rows["dec"] = wcs.all_pix2world([[50, 50]], 0).T
    rows["brickname"] = "0959p805"
    write_sweep(root / "legacy_survey/sweeps/s.fits", rows)
    batch = LegacySurvey({"route": "bricks"}).cutouts(["10000-333333-7"])
    good = invvar > 0
    np.testing.assert_array_equal(batch.image[0, 0], np.where(good, image, 0))
    np.testing.assert_array_equal(batch.invvar[0, 0], invvar)
    assert (batch.invvar[0, 1:] == 0).all() and (batch.maskbits[0] & 0b11000000 == 0b11000000).all()


def test_real_pixels_survive_the_service_route(real_data, root):
    """Real DECam grz cutouts, served as the service serves them, in another band order."""
    stamps = np.load(real_data / "imaging" / "decam_grz_cutouts" / "cutouts.npz", allow_pickle=False)
    image, invvar = stamps["image"], np.maximum(stamps["invvar"], 0)
    rows = sweep_rows(len(image))
    write_sweep(root / "legacy_survey/sweeps/s.fits", rows)

    def respond(query):
        k = int(np.abs(rows["ra"] - float(query["ra"])).argmin())
        return answer(image[k][::-1], invvar[k][::-1], bands="zrg")

    with serving(respond) as server:
        survey = LegacySurvey({"base_url": server.url, "rate_per_s": 1000.0})
        batch = survey.cutouts(survey.galaxies()["galaxy_id"], size=64)
    np.testing.assert_array_equal(batch.image, np.where(invvar > 0, image, 0))
    np.testing.assert_array_equal(batch.invvar, invvar)
