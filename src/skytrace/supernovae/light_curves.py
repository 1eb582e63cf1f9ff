"""Is a table of photometry what it says it is? The tidy light-curve table, its columns and units, and what is rejected.

One row an observation: snid (text), mjd [d], flux_jy and flux_err_jy [Jy, linear, negative values kept], wavelength_nm
(pivot of the filter, observer frame), band, z_hel (heliocentric), survey. What concerns a whole column (a missing
column, a wrong unit, a wrong zero point) is an error that names all problems at once; what concerns rows is a counted
rejection with the row's number. Rows in = rows kept + rows rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, check_between, check_choice, check_whole
from skytrace.supernovae.cosmology import flat_lcdm_distance_modulus

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LIGHT_CURVE_COLUMNS",
    "REJECTION_COLUMNS",
    "LightCurveOptions",
    "light_curve_report",
    "peak_absolute_magnitudes",
    "peak_magnitudes",
    "validate_light_curves",
    "zero_point_offsets",
]

LIGHT_CURVE_COLUMNS = ("snid", "mjd", "flux_jy", "flux_err_jy", "wavelength_nm", "band", "z_hel", "survey")
REJECTION_COLUMNS = ("row", "snid", "mjd", "band", "reason")
#: Of columns of numbers: the range that the median must lie in, and what the unit is; other units fall outside.
_UNITS = {
    "mjd": (20_000.0, 90_000.0, "modified Julian days"),  # JD is 2.4 million, days since maximum are about 0
    "flux_err_jy": (1e-12, 1e-3, "Jy"),  # FLUXCAL, microjansky and magnitudes are 0.1 to 300
    "wavelength_nm": (150.0, 2_900.0, "nm"),  # Angstrom are 3,000 and more, micrometres about 1
    "z_hel": (1e-4, 12.0, "heliocentric redshifts"),
}
_SEPARATOR_MJD = -777.0
_AB_ZERO_MAG = 8.9000  # -2.5 log10(1 / 3631 Jy) is 8.9000
#: What a B filter sees, rest frame [nm]: where a peak magnitude is compared with mB or with -19.3.
_REST_B_NM = (380.0, 520.0)


@dataclass(frozen=True)
class LightCurveOptions:
    """known_bands: names that are accepted; empty: any name that has a wavelength. repeated_epochs: of several rows of
    one SN, MJD and band ``first`` keeps the first, ``keep`` keeps those that differ (exact copies never). The zero
    point of each survey with at least ``min_supernovae`` usable SNe: median of peak magnitude (AB, rest-frame B) minus
    mB within ``mb_tolerance_mag``; where mB is unknown, median absolute peak magnitude (H0 = 70, Omega_M = 0.3) within
    the two ends.
    """

    known_bands: tuple[str, ...] = ()
    repeated_epochs: str = "first"
    min_snr: float = 5.0
    min_supernovae: int = 3
    mb_tolerance_mag: float = 1.0
    peak_mag_bright: float = -20.8
    peak_mag_faint: float = -17.2

    def __post_init__(self) -> None:
        object.__setattr__(self, "known_bands", tuple(self.known_bands))
        check_choice("repeated_epochs", self.repeated_epochs, ("first", "keep"))
        check_between("min_snr", self.min_snr, 0.0, 1e3)
        check_whole("min_supernovae", self.min_supernovae, 1, 10**6)
        check_between("mb_tolerance_mag", self.mb_tolerance_mag, 0.0, 100.0, include_low=False)
        check_between("peak_mag_bright", self.peak_mag_bright, -40.0, 0.0)
        check_between("peak_mag_faint", self.peak_mag_faint, self.peak_mag_bright, 40.0, include_low=False)


def validate_light_curves(
    table: pd.DataFrame, *, objects: pd.DataFrame | None = None, options: LightCurveOptions | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The observations that can be used, LIGHT_CURVE_COLUMNS ordered by snid, MJD and band, and those rejected.

    objects: one row a SN; its column mb (peak magnitude in B, NaN where unknown), if there, is held against the fluxes.
    rejections: row (number in ``table``, from 0), snid, mjd, band, reason (the first that applies: separator,
    no_snid, mjd_not_finite, flux_not_finite, error_not_finite, error_not_positive, unknown_band, wavelength_not_finite,
    redshift_not_valid, repeated_epoch). Identifiers are kept as they are, whatever their alphabet; order is no matter.
    Raises CatalogueError, all problems in one message, for an empty table, missing columns, text where numbers belong,
    a unit that cannot be, a SN of several redshifts, a table of which nothing is left, and a wrong zero point.
    """
    options = options or LightCurveOptions()
    typed = _typed(table)
    reason = _reasons(typed, options)
    good = reason == ""
    if not good.any():
        counts = pd.Series(reason).value_counts()
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise CatalogueError(f"none of {len(table)} rows of the light-curve table can be used: {told}")
    clean = typed[good].sort_values(["snid", "mjd", "band"], kind="stable", ignore_index=True)
    rejected = typed.loc[~good, ["snid", "mjd", "band"]].reset_index(drop=True)
    rejected.insert(0, "row", np.flatnonzero(~good))
    rejections = rejected.assign(reason=reason[~good])[list(REJECTION_COLUMNS)]
    _check_one_redshift(clean)
    _check_zero_points(zero_point_offsets(clean, objects=objects, options=options))
    return clean, rejections


def light_curve_report(clean: pd.DataFrame, rejections: pd.DataFrame) -> dict[str, Any]:
    """Counts of ``validate_light_curves``: rows and SNe in, kept and rejected, by reason and survey, in plain types."""
    per_sn = clean.groupby("snid", sort=False).size()
    lost = sorted(set(rejections["snid"]) - set(per_sn.index) - {""})
    by_survey = clean.groupby("survey")["snid"].agg(["nunique", "size"])
    return {
        "rows_in": len(clean) + len(rejections),
        "rows_kept": len(clean),
        "rows_rejected": len(rejections),
        "rejected_by_reason": {str(k): int(v) for k, v in rejections["reason"].value_counts(sort=False).items()},
        "supernovae": len(per_sn),
        "supernovae_without_a_row_left": lost,
        "supernovae_of_one_observation": int((per_sn == 1).sum()),
        "negative_fluxes": int((clean["flux_jy"] < 0).sum()),
        "surveys": {
            str(name): {"supernovae": int(row["nunique"]), "observations": int(row["size"])}
            for name, row in by_survey.iterrows()
        },
    }


def peak_magnitudes(light_curves: pd.DataFrame, *, min_snr: float = 5.0) -> pd.Series:
    """AB magnitude of the brightest observation in rest-frame B (380-520 nm), by snid; SNe without one at ``min_snr``
    are left out.
    """
    rest = light_curves["wavelength_nm"] / (1.0 + light_curves["z_hel"])
    bright = light_curves["flux_jy"] > min_snr * light_curves["flux_err_jy"]
    used = light_curves[rest.between(*_REST_B_NM) & bright]
    return _AB_ZERO_MAG - 2.5 * np.log10(used.groupby("snid")["flux_jy"].max())


def peak_absolute_magnitudes(light_curves: pd.DataFrame, *, min_snr: float = 5.0) -> pd.Series:
    """``peak_magnitudes`` minus the distance modulus of flat LambdaCDM, H0 = 70 km/s/Mpc, Omega_M = 0.3; by snid."""
    peak = peak_magnitudes(light_curves, min_snr=min_snr)
    z = light_curves.drop_duplicates("snid").set_index("snid")["z_hel"].reindex(peak.index)
    return peak - flat_lcdm_distance_modulus(z.to_numpy(), omega_m=0.3)


def zero_point_offsets(
    light_curves: pd.DataFrame, *, objects: pd.DataFrame | None = None, options: LightCurveOptions | None = None
) -> pd.DataFrame:
    """By survey: n SNe, reference (``mb`` or ``absolute``), median_mag of peak magnitude minus the reference, the
    range low_mag to high_mag that it must lie in, and plausible. Surveys of too few usable SNe are left out.
    """
    options = options or LightCurveOptions()
    peak = peak_magnitudes(light_curves, min_snr=options.min_snr).rename("peak")
    first = light_curves.drop_duplicates("snid").set_index("snid")[["survey", "z_hel"]]
    each = first.join(peak, how="inner")
    each["absolute"] = peak_absolute_magnitudes(light_curves, min_snr=options.min_snr).reindex(each.index)
    each["mb"] = np.nan
    if objects is not None and "mb" in objects:
        known = objects.dropna(subset="mb").drop_duplicates("snid").set_index("snid")["mb"]
        each["mb"] = each["peak"] - known.reindex(each.index).astype(float)
    tolerance = options.mb_tolerance_mag
    ends = {"mb": (-tolerance, tolerance), "absolute": (options.peak_mag_bright, options.peak_mag_faint)}
    rows = []
    for survey, group in each.groupby("survey"):
        reference = "mb" if group["mb"].notna().sum() >= options.min_supernovae else "absolute"
        values = group[reference].dropna()
        if len(values) >= options.min_supernovae:
            low, high = ends[reference]
            median = float(values.median())
            rows.append((str(survey), len(values), reference, median, low, high, bool(low <= median <= high)))
    names = ["survey", "n", "reference", "median_mag", "low_mag", "high_mag", "plausible"]
    return pd.DataFrame(rows, columns=names)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of the tidy table in their types; every problem of a whole column in one CatalogueError."""
    problems = ["is empty"] if len(table) == 0 else []
    named = table.reset_index(drop=True)
    present = [name for name in LIGHT_CURVE_COLUMNS if name in named]
    named = named[present].copy()
    for name in ("snid", "band", "survey"):
        if name in named and len(table):
            problems += _as_text(named, name)
    typed, found = _checked(named)
    problems += found
    if problems:
        raise CatalogueError("the light-curve table " + "; ".join(problems))
    return typed[list(LIGHT_CURVE_COLUMNS)]


def _as_text(table: pd.DataFrame, name: str) -> list[str]:
    """Make a column text, nothing ("") where it is missing; problems in words."""
    values = table[name]
    if values.dtype.kind == "f":
        return [f"has numbers with fractions in {name}: read that column as text, or leading zeros and digits are lost"]
    missing = values.isna().to_numpy()
    text = values.astype(object).map(lambda value: value.decode() if isinstance(value, bytes) else str(value))
    table[name] = text.where(~missing, "").astype("str")
    return []


def _checked(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """``table`` with its numbers as float64, and what pandera finds wrong with columns, in words."""
    import pandera.pandas as pandera
    from pandera.errors import SchemaErrors

    def median_in(low: float, high: float) -> pandera.Check:
        return pandera.Check(lambda values: low <= _median(values, default=low) <= high, name="unit")

    columns = {name: pandera.Column(str) for name in ("snid", "band", "survey")}
    columns |= {
        name: pandera.Column(
            float, [median_in(*_UNITS[name][:2])] if name in _UNITS else [], coerce=True, nullable=True
        )
        for name in LIGHT_CURVE_COLUMNS if name not in columns
    }  # fmt: skip
    try:
        return pandera.DataFrameSchema(columns).validate(table, lazy=True), []
    except SchemaErrors as error:
        return table, _in_words(table, error.failure_cases)


def _in_words(table: pd.DataFrame, failures: pd.DataFrame) -> list[str]:
    check = failures["check"].astype(str)
    missing = failures.loc[check == "column_in_dataframe", "failure_case"].astype(str)
    problems = [f"lacks columns {', '.join(missing)}"] if len(missing) else []
    uncoerced = failures[check.str.startswith("coerce_dtype")]
    for name, cases in uncoerced.groupby("column", sort=False):
        case = cases.iloc[0]
        problems.append(
            f"has {len(cases)} value(s) in {name} that are no numbers, the first {case['failure_case']!r} in row "
            f"{int(case['index'])}"
        )
    units = failures.loc[(check == "unit") & ~failures["column"].isin(uncoerced["column"]), "column"]
    for name in units.drop_duplicates():
        low, high, unit = _UNITS[name]
        median = _median(pd.to_numeric(table[name], errors="coerce"))
        problems.append(f"has a median {name} of {median:.6g}, outside {low:g} to {high:g}: these are no {unit}")
    return problems


def _median(values: pd.Series, *, default: float = np.nan) -> float:
    """Of the finite positive values; separators and sentinels are negative."""
    numbers = values.to_numpy(dtype=float)
    numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
    return float(np.median(numbers)) if len(numbers) else default


def _reasons(table: pd.DataFrame, options: LightCurveOptions) -> NDArray[np.str_]:
    """Why each row is rejected; "" for those that are kept."""
    mjd, flux, error, wavelength, z = (
        table[name].to_numpy() for name in ("mjd", "flux_jy", "flux_err_jy", "wavelength_nm", "z_hel")
    )
    band = table["band"].str.strip()
    unknown = band == ""
    # no wavelength for any row of a band: the table of filters does not know it
    unknown |= table.groupby(["survey", "band"])["wavelength_nm"].transform("count") == 0
    if options.known_bands:
        unknown |= ~band.isin(options.known_bands)
    with np.errstate(invalid="ignore"):
        tests = [
            (mjd == _SEPARATOR_MJD, "separator"),
            ((table["snid"].str.strip() == "").to_numpy(), "no_snid"),
            (~np.isfinite(mjd), "mjd_not_finite"),
            (~np.isfinite(flux), "flux_not_finite"),
            (~np.isfinite(error), "error_not_finite"),
            (error <= 0, "error_not_positive"),
            (unknown.to_numpy(), "unknown_band"),
            (~(np.isfinite(wavelength) & (wavelength > 0)), "wavelength_not_finite"),
            (~(np.isfinite(z) & (z > 0)), "redshift_not_valid"),
        ]
    reason = np.select([test for test, _ in tests], [name for _, name in tests], default="").astype("U24")
    good = table[reason == ""]
    same = ["snid", "mjd", "band"] + (["flux_jy", "flux_err_jy"] if options.repeated_epochs == "keep" else [])
    reason[good.index[good.duplicated(same)]] = "repeated_epoch"
    return reason


def _check_one_redshift(clean: pd.DataFrame) -> None:
    several = clean.groupby("snid")["z_hel"].nunique()
    names = several.index[several > 1]
    if len(names):
        raise CatalogueError(
            f"{len(names)} SN(e) of the light-curve table have several redshifts each, the first is {names[0]!r}; "
            "two objects may share an identifier"
        )


def _check_zero_points(offsets: pd.DataFrame) -> None:
    wrong = offsets[~offsets["plausible"]] if len(offsets) else offsets
    told = [
        f"{row.survey}: {row.n} SNe peak at a median {'of' if row.reference == 'absolute' else 'of mB'}"
        f" {row.median_mag:+.2f} mag ({'absolute' if row.reference == 'absolute' else 'peak minus mB'}), outside "
        f"{row.low_mag:+.2f} to {row.high_mag:+.2f}"
        for row in wrong.itertuples()
    ]
    if told:
        raise CatalogueError(
            "the fluxes cannot be Jy of a right zero point (FLUXCAL 27.5: 3.631e-8 Jy a unit): " + "; ".join(told)
        )
