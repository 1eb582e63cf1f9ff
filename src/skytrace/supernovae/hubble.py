"""The Hubble table of our own fits: one row a supernova that the fit can speak for, and why the others are left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_choice
from skytrace.supernovae.cosmology import ALPHA_PER_MAG, SPEED_OF_LIGHT_KM_S, flat_lcdm_distance_modulus
from skytrace.supernovae.fit_options import FLAGS

__all__ = ["HubbleOptions", "hubble_from_fits", "scatter_by_survey"]


@dataclass(frozen=True)
class HubbleOptions:
    """alpha: ``mean`` of the posterior or its ``mode``. exclude: flags of the fit that leave a SN out.
    max_alpha_err: a larger error of the fit says that nothing was measured. prob_ia_from: releases whose P(Ia) is
    taken, the first that knows a SN; empty: every release, in the order of the survey. peculiar_velocity_kms: its error
    of mu, 5 / ln 10 v / (c z), is added in quadrature to that of the fit.
    """

    alpha: str = "mean"
    exclude: tuple[str, ...] = (
        "too_few_observations", "no_signal", "not_converged_iterations", "not_converged_stalled", "one_band",
        "at_bound_alpha", "at_bound_t0",
    )  # fmt: skip
    max_alpha_err: float = 1.0
    prob_ia_from: tuple[str, ...] = ()
    peculiar_velocity_kms: float = 0.0

    def __post_init__(self) -> None:
        check_choice("alpha", self.alpha, ("mean", "mode"))
        check_between("max_alpha_err", self.max_alpha_err, 0.0, 100.0, include_low=False)
        check_between("peculiar_velocity_kms", self.peculiar_velocity_kms, 0.0, 5000.0)
        object.__setattr__(self, "exclude", tuple(self.exclude))
        for flag in self.exclude:
            check_choice("exclude", flag, FLAGS)
        named = self.prob_ia_from
        if not isinstance(named, (tuple, list)) or not all(isinstance(name, str) and name for name in named):
            raise OptionError(f"prob_ia_from = {named!r} is not a list of releases' names")
        if len(set(named)) < len(named):
            raise OptionError(f"prob_ia_from = {list(named)} names a release twice")
        object.__setattr__(self, "prob_ia_from", tuple(named))


def hubble_from_fits(
    fits: pd.DataFrame,
    objects: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    options: HubbleOptions | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Distances of the SNe whose fit can be used, and those left out.

    fits: of ``fit_light_curves``. objects: snid, z_hd. published: snid, release, prob_ia. Returns the table (snid,
    survey, z_hd, z_hel, alpha, alpha_err, mu_mag, mu_err_mag, prob_ia NaN where unknown, flags, bias_mag 0: see
    ``distance_bias``), ordered by snid, and left out: snid, survey, z_hel, reason. Raises CatalogueError where no SN is
    left.
    """
    options = options or HubbleOptions()
    suffix = "_mean" if options.alpha == "mean" else ""
    alpha, error = fits[f"alpha{suffix}"], fits[f"alpha{suffix}_err"]
    z_hd = fits["snid"].map(objects.drop_duplicates("snid").set_index("snid")["z_hd"]).astype(float)
    reason = pd.Series("", index=fits.index, dtype=object)
    flags = fits["flags"].astype(str).str.split(";")
    for flag in options.exclude:
        reason = reason.mask((reason == "") & flags.map(lambda names, flag=flag: flag in names), flag)
    unusable = ~(np.isfinite(alpha) & np.isfinite(error) & (error > 0))
    reason = reason.mask((reason == "") & unusable, "no_alpha")
    reason = reason.mask((reason == "") & (error > options.max_alpha_err), "alpha_err_too_large")
    reason = reason.mask((reason == "") & ~(np.isfinite(z_hd) & (z_hd > 0)), "no_redshift")
    velocity = options.peculiar_velocity_kms / SPEED_OF_LIGHT_KM_S / z_hd  # of ln D, and twice of it alpha's
    error = (error**2 + (2.0 * velocity) ** 2) ** 0.5
    table = pd.DataFrame(
        {
            "snid": fits["snid"], "survey": fits["survey"], "z_hd": z_hd, "z_hel": fits["z_hel"], "alpha": alpha,
            "alpha_err": error, "mu_mag": -alpha / ALPHA_PER_MAG, "mu_err_mag": error / ALPHA_PER_MAG,
            "prob_ia": fits["snid"].map(_prob_ia(published, options)).astype(float), "flags": fits["flags"],
            "bias_mag": 0.0,
        }
    )  # fmt: skip
    good = reason == ""
    if not good.any():
        counts = ", ".join(f"{name} {count}" for name, count in reason.value_counts().items())
        raise CatalogueError(f"none of {len(fits)} fits can be used for a Hubble diagram: {counts}")
    left_out = fits.loc[~good, ["snid", "survey", "z_hel"]].assign(reason=reason[~good].astype("str"))
    return table[good].sort_values("snid", ignore_index=True), left_out.sort_values("snid", ignore_index=True)


def scatter_by_survey(table: pd.DataFrame) -> dict[str, dict[str, float | int]]:
    """How well each survey's light curves measure distances, against an expansion that nothing is fitted to.

    table: of ``hubble_from_fits``. For each survey, all SNe and those whose published P(Ia) is above 0.5 (names ending
    in _ia): n, rms and 1.4826 MAD [mag] of mu less flat LambdaCDM (H0 = 70, Omega_M = 0.3) about the survey's median,
    which takes out its calibration. No width or colour of a light curve has corrected anything.
    """
    expected = flat_lcdm_distance_modulus(table["z_hd"].to_numpy(), table["z_hel"].to_numpy(), omega_m=0.3)
    away = table["mu_mag"] - expected
    found: dict[str, dict[str, float | int]] = {}
    for survey, rows in away.groupby(table["survey"].astype(str)):
        found[str(survey)] = {}
        for name, some in (("", rows), ("_ia", rows[table.loc[rows.index, "prob_ia"] > 0.5])):
            about = some - some.median()
            found[str(survey)] |= {
                f"n{name}": len(some),
                f"rms_mag{name}": float(np.sqrt((about**2).mean())),
                f"mad_mag{name}": float(1.4826 * about.abs().median()),
            }
    return found


def _prob_ia(published: pd.DataFrame | None, options: HubbleOptions) -> pd.Series:
    if published is None or published.empty:
        return pd.Series(dtype=float)
    releases = options.prob_ia_from or tuple(published["release"].drop_duplicates())
    unknown = sorted(set(releases) - set(published["release"]))
    if unknown:
        there = ", ".join(published["release"].drop_duplicates())
        raise CatalogueError(f"no release {', '.join(unknown)} among the published Hubble tables: {there}")
    known = published[published["release"].isin(releases) & published["prob_ia"].notna()]
    rank = known["release"].map({name: place for place, name in enumerate(releases)})
    first = known.assign(rank=rank).sort_values(["rank", "snid"], kind="stable").drop_duplicates("snid")
    return first.set_index("snid")["prob_ia"]
