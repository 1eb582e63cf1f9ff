"""Which supernovae carry enough photometry to be fitted, and a ledger of what every cut removed and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, check_between, check_choice, check_whole
from skytrace.supernovae.light_curves import LIGHT_CURVE_COLUMNS, peak_absolute_magnitudes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["QUALITY_LEDGER_COLUMNS", "QualityCutOptions", "apply_quality_cuts", "measure_quality"]

QUALITY_LEDGER_COLUMNS = (
    "step", "cut", "supernovae_in", "supernovae_out", "supernovae_removed", "observations_in", "observations_out",
    "observations_removed", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class QualityCutOptions:
    """min_observations; min_bands in which some observation exceeds min_snr; z_min, z_max: both ends kept, of z_hel.
    Coverage: at least one observation within days_before of the peak, and one within days_after (rest frame).
    selection: ``wide`` keeps SNe of any brightness, so that outliers reach the model that is to find them;
    ``standard`` also removes SNe whose absolute peak magnitude (H0 = 70, Omega_M = 0.3) lies outside the two ends.
    """

    min_observations: int = 3
    min_snr: float = 5.0
    min_bands: int = 2
    z_min: float = 0.05
    z_max: float = 1.5
    days_before: float = 30.0
    days_after: float = 45.0
    selection: str = "wide"
    peak_mag_bright: float = -20.5
    peak_mag_faint: float = -17.5

    def __post_init__(self) -> None:
        check_whole("min_observations", self.min_observations, 1, 10_000)
        check_between("min_snr", self.min_snr, 0.0, 1e3)
        check_whole("min_bands", self.min_bands, 0, 100)
        check_between("z_min", self.z_min, 0.0, 20.0)
        check_between("z_max", self.z_max, self.z_min, 20.0, include_low=False)
        check_between("days_before", self.days_before, 0.0, 1e4, include_low=False)
        check_between("days_after", self.days_after, 0.0, 1e4, include_low=False)
        check_choice("selection", self.selection, ("wide", "standard"))
        check_between("peak_mag_bright", self.peak_mag_bright, -40.0, 0.0)
        check_between("peak_mag_faint", self.peak_mag_faint, self.peak_mag_bright, 40.0, include_low=False)


def apply_quality_cuts(
    light_curves: pd.DataFrame, objects: pd.DataFrame | None = None, options: QualityCutOptions | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All observations of the SNe that pass every cut, and the ledger: one row a cut, QUALITY_LEDGER_COLUMNS.

    light_curves: of ``validate_light_curves``. objects: one row a SN; its column peakmjd, where finite, says when the
    peak was. Raises CatalogueError when nothing is left, naming the cut.
    """
    options = options or QualityCutOptions()
    measured = measure_quality(light_curves, objects, options)
    rows = []
    left = pd.Series(True, index=measured.index)
    for step, (name, _, reason) in enumerate(_cuts(options), start=1):
        gone = measured["removed_by"] == name
        n, observations = int(left.sum()), int(measured.loc[left, "n_obs"].sum())
        left &= ~gone
        n_out, observations_out = int(left.sum()), int(measured.loc[left, "n_obs"].sum())
        rows.append(
            (step, name, n, n_out, n - n_out, observations, observations_out, observations - observations_out, reason)
        )
        if n_out == 0:
            raise CatalogueError(
                f"cut {name!r} (step {step}) left none of {len(measured)} SNe: {reason}; loosen it or check the units"
            )
    kept = light_curves[light_curves["snid"].isin(measured.loc[left, "snid"])]
    return kept.reset_index(drop=True), pd.DataFrame(rows, columns=list(QUALITY_LEDGER_COLUMNS))


def measure_quality(
    light_curves: pd.DataFrame, objects: pd.DataFrame | None = None, options: QualityCutOptions | None = None
) -> pd.DataFrame:
    """One row a SN, ordered by snid: n_obs, n_bands, n_bands_snr (above min_snr), snr_max, z_hel, peak_mjd, n_before
    and n_after (observations within the windows of coverage), peak_mag_abs, and removed_by: the first cut that the SN
    fails, "" if none. A SN without an observation above min_snr has no peak (NaN) unless ``objects`` knows it.
    """
    options = options or QualityCutOptions()
    missing = [name for name in LIGHT_CURVE_COLUMNS if name not in light_curves]
    if missing or light_curves.empty:
        raise CatalogueError(f"the light-curve table is empty or lacks columns {', '.join(missing)}")
    used = light_curves.assign(snr=light_curves["flux_jy"] / light_curves["flux_err_jy"])
    bright = used[used["snr"] > options.min_snr]
    table = used.groupby("snid").agg(
        survey=("survey", "first"), z_hel=("z_hel", "first"), n_obs=("mjd", "size"), n_bands=("band", "nunique"),
        snr_max=("snr", "max"),
    )  # fmt: skip
    table["n_bands_snr"] = bright.groupby("snid")["band"].nunique().reindex(table.index, fill_value=0)
    table["peak_mjd"] = _peak_mjd(bright).reindex(table.index)
    if objects is not None and "peakmjd" in objects:
        known = objects.drop_duplicates("snid").set_index("snid")["peakmjd"].reindex(table.index).astype(float)
        table["peak_mjd"] = known.where(np.isfinite(known), table["peak_mjd"])
    phase = (used["mjd"] - used["snid"].map(table["peak_mjd"])) / (1.0 + used["z_hel"])
    table["n_before"] = ((phase < 0) & (phase >= -options.days_before)).groupby(used["snid"]).sum()
    table["n_after"] = ((phase > 0) & (phase <= options.days_after)).groupby(used["snid"]).sum()
    table["peak_mag_abs"] = peak_absolute_magnitudes(light_curves, min_snr=options.min_snr).reindex(table.index)
    cuts = _cuts(options)
    table["removed_by"] = np.select([~keep(table) for _, keep, _ in cuts], [name for name, _, _ in cuts], default="")
    return table.reset_index()


def _peak_mjd(bright: pd.DataFrame) -> pd.Series:
    """When the flux was highest in the band that has most observations (of those, the highest S/N); by snid."""
    bands = bright.groupby(["snid", "band"]).agg(n=("snr", "size"), best=("snr", "max")).reset_index()
    bands = bands.sort_values(["snid", "n", "best", "band"], ascending=[True, False, False, True])
    reference = bands.drop_duplicates("snid")[["snid", "band"]]
    chosen = bright.merge(reference, on=["snid", "band"]).sort_values(["snid", "flux_jy", "mjd"])
    return chosen.drop_duplicates("snid", keep="last").set_index("snid")["mjd"]


def _cuts(options: QualityCutOptions) -> list[tuple[str, Callable[[pd.DataFrame], pd.Series], str]]:
    """(name, function of ``measure_quality``'s table -> which SNe pass, reason), in order."""
    low, high = options.peak_mag_bright, options.peak_mag_faint
    cuts = [
        (
            "observations",
            lambda table: table["n_obs"] >= options.min_observations,
            f"fewer than {options.min_observations} observations",
        ),
        (
            "redshift",
            lambda table: table["z_hel"].between(options.z_min, options.z_max),
            f"z_hel outside {options.z_min:g} to {options.z_max:g}",
        ),
        (
            "signal",
            lambda table: table["n_bands_snr"] >= options.min_bands,
            f"S/N > {options.min_snr:g} in fewer than {options.min_bands} bands",
        ),
        (
            "before_peak",
            lambda table: table["n_before"] >= 1,
            f"no observation within {options.days_before:g} rest-frame days before the peak",
        ),
        (
            "after_peak",
            lambda table: table["n_after"] >= 1,
            f"no observation within {options.days_after:g} rest-frame days after the peak",
        ),
    ]
    if options.selection == "standard":
        cuts.append(
            (
                "brightness",
                lambda table: table["peak_mag_abs"].between(low, high),
                f"absolute peak magnitude unknown or outside {low:g} to {high:g}",
            )
        )
    return cuts
