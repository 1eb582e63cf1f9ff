"""A light-curve table is what it says, or one message says all that it is not; rows are kept or counted as rejected."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.supernovae.light_curves import (
    LIGHT_CURVE_COLUMNS,
    REJECTION_COLUMNS,
    LightCurveOptions,
    light_curve_report,
    peak_magnitudes,
    validate_light_curves,
    zero_point_offsets,
)


def light_curves(n: int = 4, *, peak_mag: float = 22.3, names: list[str] | None = None) -> pd.DataFrame:
    """SNe at z = 0.4 that rise and fall in r and i, three visits each, peaking at ``peak_mag`` in r (rest 459 nm)."""
    names = names or [f"sn{i}" for i in range(n)]
    peak = 3631.0 * 10 ** (-0.4 * peak_mag)
    rows = [
        (name, 57000.0 + 10 * k, peak * part * (1.0 if band == "r" else 0.9), 0.02 * peak, nm, band, 0.4, "T")
        for name in names
        for k, part in enumerate((0.3, 1.0, 0.4))
        for band, nm in (("r", 642.04), ("i", 781.6))
    ]
    return pd.DataFrame(rows, columns=list(LIGHT_CURVE_COLUMNS))


def reasons(table: pd.DataFrame, **options) -> list[tuple[int, str, str]]:
    clean, rejections = validate_light_curves(table, options=LightCurveOptions(**options))
    assert len(clean) + len(rejections) == len(table)
    assert tuple(rejections) == REJECTION_COLUMNS
    return list(rejections[["row", "snid", "reason"]].itertuples(index=False, name=None))


def changed(table: pd.DataFrame, row: int, name: str, value: object) -> pd.DataFrame:
    table = table.copy()
    table.loc[row, name] = value
    return table


def scaled(table: pd.DataFrame, factor: float) -> pd.DataFrame:
    return table.assign(flux_jy=table["flux_jy"] * factor, flux_err_jy=table["flux_err_jy"] * factor)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("flux_jy", np.nan, "flux_not_finite"),
        ("flux_jy", np.inf, "flux_not_finite"),
        ("flux_err_jy", np.nan, "error_not_finite"),
        ("flux_err_jy", 0.0, "error_not_positive"),
        ("flux_err_jy", -1e-7, "error_not_positive"),
        ("mjd", -777.0, "separator"),
        ("mjd", np.nan, "mjd_not_finite"),
        ("wavelength_nm", np.nan, "wavelength_not_finite"),
        ("wavelength_nm", 0.0, "wavelength_not_finite"),
        ("band", "", "unknown_band"),
        ("band", None, "unknown_band"),
        ("z_hel", np.nan, "redshift_not_valid"),
        ("z_hel", -9.0, "redshift_not_valid"),
        ("snid", " ", "no_snid"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_by_number_and_nothing_else_is(name, value, reason):
    table = changed(light_curves(), 7, name, value)
    assert reasons(table) == [(7, " " if name == "snid" else "sn1", reason)]


def test_a_band_that_the_filters_do_not_know_is_rejected():
    table = changed(light_curves(), 3, "band", "Q")
    assert reasons(table, known_bands=("g", "r", "i", "z")) == [(3, "sn0", "unknown_band")]
    assert reasons(table) == []


def test_negative_fluxes_are_kept_to_the_bit():
    table = changed(light_curves(), 0, "flux_jy", -1.234567890123e-7)
    clean, rejections = validate_light_curves(table)
    assert rejections.empty
    assert (clean["flux_jy"] == -1.234567890123e-7).sum() == 1
    assert light_curve_report(clean, rejections)["negative_fluxes"] == 1


def test_of_a_repeated_epoch_the_first_counts_unless_differing_ones_are_asked_for():
    table = light_curves(n=3)
    copy, other = table.iloc[[4]], table.iloc[[9]].assign(flux_jy=1e-7)
    table = pd.concat([table, copy, other], ignore_index=True)
    assert reasons(table) == [(18, "sn0", "repeated_epoch"), (19, "sn1", "repeated_epoch")]
    assert reasons(table, repeated_epochs="keep") == [(18, "sn0", "repeated_epoch")]
    clean, _ = validate_light_curves(table)
    assert clean.loc[(clean["snid"] == "sn1") & (clean["mjd"] == 57010.0), "flux_jy"].min() > 1e-6  # not the later 1e-7


def test_a_rejected_row_does_not_take_the_place_of_its_repetition():
    table = light_curves(n=3)
    good = table.iloc[[4]]
    table = pd.concat([changed(table, 4, "flux_jy", np.nan), good], ignore_index=True)
    assert reasons(table) == [(4, "sn0", "flux_not_finite")]


def test_order_is_no_matter():
    table = light_curves()
    shuffled = table.sample(frac=1.0, random_state=5)
    pd.testing.assert_frame_equal(validate_light_curves(shuffled)[0], validate_light_curves(table)[0])
    clean = validate_light_curves(shuffled)[0]
    assert clean.groupby("snid")["mjd"].is_monotonic_increasing.all()
    _, rejections = validate_light_curves(shuffled.assign(flux_err_jy=np.where(np.arange(24) == 11, np.nan, 1e-7)))
    assert rejections["row"].tolist() == [11]  # its place in the table as given, not a label


def test_identifiers_of_any_alphabet_and_with_leading_zeros_stay_as_they_are():
    names = ["超新星1", "SN 2011fé", "000123", "123"]
    clean, rejections = validate_light_curves(light_curves(names=names))
    assert rejections.empty
    assert set(clean["snid"]) == set(names)


def test_whole_numbers_as_identifiers_become_text_and_fractions_are_refused():
    table = light_curves(n=3)
    number = table["snid"].str.removeprefix("sn").astype(int)
    assert set(validate_light_curves(table.assign(snid=number))[0]["snid"]) == {"0", "1", "2"}
    with pytest.raises(CatalogueError, match="read that column as text"):
        validate_light_curves(table.assign(snid=number + 0.5))


def test_all_problems_of_columns_come_in_one_message():
    table = light_curves().drop(columns=["band", "survey"])
    table = table.assign(wavelength_nm=table["wavelength_nm"] * 10, mjd=table["mjd"] + 2_400_000.5)
    table["flux_jy"] = table["flux_jy"].astype(str).where(table.index != 5, "bright")
    with pytest.raises(CatalogueError) as caught:
        validate_light_curves(table)
    told = str(caught.value)
    for words in ("lacks columns band, survey", "no nm", "no modified Julian days", "the first 'bright' in row 5"):
        assert words in told


@pytest.mark.parametrize("factor", [1e6, 1 / 3.631e-8], ids=["microjansky", "FLUXCAL"])
def test_errors_in_another_unit_are_told(factor):
    table = light_curves()
    with pytest.raises(CatalogueError, match="these are no Jy"):
        validate_light_curves(scaled(table, factor))


def test_an_empty_table_and_one_of_which_nothing_is_left_are_errors():
    with pytest.raises(CatalogueError, match="is empty"):
        validate_light_curves(light_curves().iloc[:0])
    with pytest.raises(CatalogueError, match=r"none of 24 rows .* error_not_positive 24"):
        validate_light_curves(light_curves().assign(flux_err_jy=0.0))


def test_one_identifier_of_two_redshifts_is_an_error():
    with pytest.raises(CatalogueError, match="'sn1'"):
        validate_light_curves(changed(light_curves(), 6, "z_hel", 0.5))


def test_the_peak_is_that_of_rest_frame_blue_light():
    # r at z = 0.4 sees 459 nm, i 558 nm, which is outside 380-520 nm: a brighter i changes nothing
    table = light_curves(peak_mag=21.7)
    table.loc[table["band"] == "i", "flux_jy"] *= 5
    np.testing.assert_allclose(peak_magnitudes(table), 21.7, atol=1e-4)


def test_a_wrong_zero_point_is_told_by_the_published_peak():
    objects = pd.DataFrame({"snid": [f"sn{i}" for i in range(4)], "mb": [22.28, 22.33, 22.31, np.nan]})
    table = light_curves()
    offsets = zero_point_offsets(table, objects=objects)
    assert offsets.loc[0, ["reference", "n", "plausible"]].tolist() == ["mb", 3, True]
    assert offsets.loc[0, "median_mag"] == pytest.approx(-0.01, abs=1e-3)
    wrong = 10 ** (0.4 * 1.5)  # 1.5 mag: too little for the absolute magnitude to tell, enough beside mB
    table = scaled(table, 1 / wrong)
    validate_light_curves(table)
    with pytest.raises(CatalogueError, match=r"T: 3 SNe peak at a median of mB \+1.49 mag"):
        validate_light_curves(table, objects=objects)


@pytest.mark.parametrize("zero_point", [25.0, 30.0])
def test_a_wrong_zero_point_is_told_without_a_published_peak(zero_point):
    factor = 10 ** (-0.4 * (zero_point - 27.5))
    table = light_curves()
    with pytest.raises(CatalogueError, match="zero point"):
        validate_light_curves(scaled(table, factor))


def test_the_report_counts_what_came_in_stayed_and_went():
    table = light_curves()
    lone = table.iloc[[0]].assign(snid="lone")
    gone = table.iloc[[0, 1]].assign(snid="gone", flux_err_jy=0.0)
    clean, rejections = validate_light_curves(pd.concat([table, lone, gone], ignore_index=True))
    report = light_curve_report(clean, rejections)
    assert report["rows_in"] == 27 == report["rows_kept"] + report["rows_rejected"]
    assert report["rejected_by_reason"] == {"error_not_positive": 2}
    assert report["supernovae"] == 5
    assert report["supernovae_of_one_observation"] == 1
    assert report["supernovae_without_a_row_left"] == ["gone"]


def test_options_name_the_key_and_the_range():
    with pytest.raises(OptionError, match="repeated_epochs = 'last' is not one of first, keep"):
        LightCurveOptions(repeated_epochs="last")
    with pytest.raises(OptionError, match="mb_tolerance_mag = 0"):
        LightCurveOptions(mb_tolerance_mag=0)
