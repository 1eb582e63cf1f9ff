"""Published lenses: tiers, one row a system, the 1 arcsec match, and who is an anchor."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import SurveyError
from skytrace.sky.selection import TIERS
from skytrace.surveys.interface import LENS_COLUMNS
from skytrace.surveys.legacy_survey import LegacySurvey
from skytrace.surveys.legacy_survey.lenses import lens_table
from tests.surveys.legacy_files import sweep_rows, write_sweep

ARCSEC = 1 / 3600


def catalog(rows):
    columns = ["ra", "dec", "grade", "lens_type", "theta_e_arcsec", "system_id", "cluster_survey_only"]
    return pd.DataFrame(rows, columns=columns)


GALAXIES = pd.DataFrame(
    {"galaxy_id": ["a", "b", "c", "d"], "ra": [10.0, 20.0, 30.0, 40.0], "dec": [0.0, 60.0, 0.0, 0.0]}
)


def test_grades_become_tiers_and_the_weak_only_keep_negatives_away():
    lenses = lens_table(
        catalog(
            [
                (10.0, 0.0, "confident", "galaxy", 1.2, "s1", False),
                (20.0, 60.0, "A", "galaxy", np.nan, "s2", False),
                (30.0, 0.0, "B", "galaxy", np.nan, "s3", False),
                (40.0, 0.0, "C", "galaxy", np.nan, "s4", False),
                (40.1, 0.0, "probable", "galaxy", np.nan, "s5", False),
                (40.2, 0.0, None, "galaxy", np.nan, "s6", False),
                (30.2, 0.0, "confident", "cluster", 20.0, "s7", False),
                (10.1, 0.0, "confident", "galaxy", 1.0, "s8", True),
            ]
        ),
        GALAXIES,
        anchor_fraction=1.0,
    ).set_index("lens_id")
    assert ("lens_id", *lenses.columns) == LENS_COLUMNS
    assert lenses["galaxy_id"].to_dict() == {"s1": "a", "s2": "b", "s3": "c", "s4": "", "s5": "", "s6": "", "s7": ""}
    assert lenses["tier"].to_dict() == {
        "s1": "confirmed", "s2": "A", "s3": "B", "s4": "B", "s5": "B", "s6": "B", "s7": "B",
    }  # fmt: skip
    assert lenses.index[lenses["is_anchor"]].tolist() == ["s1", "s2"]
    assert set(lenses["tier"]) <= set(TIERS)


@pytest.mark.parametrize(("separation", "matched"), [(0.0, True), (0.95, True), (1.05, False)])
def test_match_is_within_one_arcsec_on_the_sphere(separation, matched):
    # at dec 60 an arcsec of sky is two arcsec of right ascension
    row = (20.0 + separation * ARCSEC / np.cos(np.radians(60.0)), 60.0, "A", "galaxy", np.nan, "s", False)
    assert (lens_table(catalog([row]), GALAXIES, anchor_fraction=0.0)["galaxy_id"][0] == "b") is matched


def test_a_system_listed_twice_is_one_lens_of_its_best_grade_with_any_theta_e():
    lenses = lens_table(
        catalog(
            [
                (10.0 + 0.5 * ARCSEC, 0.0, "probable", "galaxy", 1.7, "s", False),
                (10.0, 0.0, "A", "galaxy", np.nan, "s", False),
            ]
        ),
        GALAXIES,
        anchor_fraction=0.0,
    )
    assert len(lenses) == 1
    assert lenses.loc[0, ["galaxy_id", "tier", "ra", "theta_e_arcsec"]].tolist() == ["a", "A", 10.0, 1.7]


def test_anchors_are_the_stated_share_by_system_and_independent_of_row_order():
    n = 4000
    galaxies = pd.DataFrame({"galaxy_id": [f"g{k}" for k in range(n)], "ra": np.arange(n) * 0.01, "dec": np.zeros(n)})
    rows = [(k * 0.01, 0.0, "A", "galaxy", np.nan, f"s{k:05d}", False) for k in range(n)]
    lenses = lens_table(catalog(rows), galaxies, anchor_fraction=0.3)
    assert abs(lenses["is_anchor"].mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / n)
    pd.testing.assert_frame_equal(lens_table(catalog(rows[::-1]), galaxies, anchor_fraction=0.3), lenses)


def test_survey_reads_the_catalogue_under_the_data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    rows = sweep_rows(3)
    write_sweep(tmp_path / "legacy_survey/sweeps/s.fits", rows)
    with pytest.raises(SurveyError, match=r"no lens catalogue .*lens_catalog\.parquet.*\$SKYTRACE_DATA"):
        LegacySurvey().lenses()
    path = tmp_path / "imaging/catalogs/lens_catalog.parquet"
    path.parent.mkdir(parents=True)
    catalog([(rows["ra"][1], rows["dec"][1], "A", "galaxy", 1.5, "s", False)]).to_parquet(path)
    assert LegacySurvey().lenses()["galaxy_id"].tolist() == ["10000-333333-8"]
    catalog([]).drop(columns="grade").to_parquet(path)
    with pytest.raises(SurveyError, match="lacks columns grade"):
        LegacySurvey().lenses()
