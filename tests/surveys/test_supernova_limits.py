"""Values that stand for no measurement are told from faint ones: sentinels become unknown, negative fluxes stay."""

import numpy as np
import pandas as pd
import pytest

from skytrace.supernovae.light_curves import validate_light_curves
from skytrace.surveys.supernovae.limits import check_reddening, without_sentinels
from skytrace.surveys.supernovae.snana import JY_PER_FLUXCAL, SnanaSupernovae
from skytrace.surveys.supernovae.tables import read_hubble_table
from tests.surveys import snana_files

MJD_AND_BAND = [(56010.0, "r"), (56012.5, "i"), (56013.5, "z")]


@pytest.mark.parametrize("write", [snana_files.write_fits, snana_files.write_text], ids=["fits", "text"])
@pytest.mark.parametrize(
    ("observed", "kept"),
    [
        # FLUXCAL and its error: negative fluxes are noise, however negative, and -9 is one of them
        ([(-9.0, 3.0), (-998.0, 400.0), (-777.5, 300.0)], [-9.0, -998.0, -777.5]),
        # -777 and -999 may be fluxes in this unit: once, and with an error
        ([(-777.0, 300.0), (-999.0, 400.0), (25.0, 2.5)], [-777.0, -999.0, 25.0]),
        # but not twice
        ([(-777.0, 300.0), (-777.0, 400.0), (25.0, 2.5)], [25.0]),
        ([(-999.0, 300.0), (-777.0, 400.0), (-999.0, 2.5)], [-777.0]),
        # nor without an error
        ([(-999.0, 0.0), (-777.0, -777.0), (-9.0, 2.5)], [-9.0]),
    ],
)
def test_fluxcal_is_unknown_where_it_is_a_sentinel_and_kept_where_it_is_faint(
    tmp_path, monkeypatch, write, observed, kept
):
    rows = [(mjd, band, *values) for (mjd, band), values in zip(MJD_AND_BAND, observed, strict=True)]
    monkeypatch.setitem(snana_files.SUPERNOVAE, "2011fe", rows)
    write(tmp_path)
    survey = SnanaSupernovae(tmp_path, {"ab_offset": False})
    table = survey.light_curves()
    clean, rejections = validate_light_curves(table)
    mine = clean.loc[clean["snid"] == "2011fe", "flux_jy"] / JY_PER_FLUXCAL
    np.testing.assert_allclose(mine, kept, rtol=1e-12)
    assert rejections["reason"].tolist() == ["flux_not_finite"] * (3 - len(kept))
    assert len(clean) + len(rejections) == len(table)
    told = f"{3 - len(kept)} fluxes of exactly -777 or -999 are no measurements"
    assert (told in survey.note) == (len(kept) < 3)


def test_of_fluxes_in_jy_a_sentinel_is_one_wherever_it_stands():
    fluxes = pd.Series([-777.0, -999.0, -9.0, -776.9, 0.0, 1e-6, np.nan])
    known, words = without_sentinels(fluxes)
    assert known.isna().tolist() == [True, True, False, False, False, False, True]
    assert known[2:6].tolist() == fluxes[2:6].tolist()
    assert words.startswith("2 fluxes")  # a NaN was unknown before
    some, words = without_sentinels(fluxes, pd.Series([False, True, *[True] * 5]))
    assert some.isna().tolist() == [False, True, False, False, False, False, True] and words.startswith("1 fluxes")
    assert without_sentinels(fluxes[2:])[1] == ""


def test_minus_nine_and_less_are_unknown_reddening_and_unknown_distances(tmp_path):
    reddening = check_reddening(pd.Series(list("abcd")), pd.Series([-9.0, -999.0, 0.0, 0.3]), source="here")
    assert reddening.isna().tolist() == [True, True, False, False]
    rows = ["a,.1,.1,-9,.1,-9", "b,.2,.2,-999,-9,.5", "c,.3,.3,-8.5,.1,0"]
    (tmp_path / "h.csv").write_text("\n".join(["CID,zHD,zHEL,MU,MUERR,PROBIA_BEAMS", *rows]))
    table = read_hubble_table(tmp_path / "h.csv").set_index("snid")
    assert table["mu_mag"].isna().tolist() == [True, True, False]
    assert table.loc["c", "mu_mag"] == -8.5
    assert table["mu_err_mag"].isna().tolist() == [False, True, False]
    assert table["prob_ia"].isna().tolist() == [True, False, False]
