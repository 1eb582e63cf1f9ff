"""Glue of stage 3's figures and page."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.pipelines.supernova.options import InferenceOptions
from skytrace.pipelines.supernova.stage_three_reports import by_file
from skytrace.supernovae.fit_options import FitOptions
from skytrace.supernovae.outlier_options import OutlierOptions
from skytrace.supernovae.population_options import PopulationOptions

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["FIGURES", "write_page"]

#: Figures in the order in which ``write_page`` returns them, each twice: PNG and PDF.
FIGURES = (
    "hubble_diagram", "loo_comparison", "basis", "corner_flat_lcdm", "corner_qfd_anchored", "trace_rank",
    "posterior_predictive", "prior_predictive", "outlier_roc", "outlier_gallery", "light_curves",
)  # fmt: skip
_PERCENTILES = (5, 25, 50, 75, 95, 99)
_IN_GALLERY = 8
_OF_PRIOR, _PRIOR_DRAWS, _PRIOR_SEED = 200, 400, 42


def write_page(
    recomputation: Report,
    inference_table: Table,
    model_comparison: Table,
    posterior_summary: Table,
    fold_scores: Table,
    light_curves: Table,
    light_curve_fits: Table,
    outliers: Table,
    injections: Table,
    truth: Table,
    quality_ledger: Table,
    posterior_flat_lcdm: Any,
    posterior_qfd_anchored: Any,
    inference: InferenceOptions,
    population: PopulationOptions,
    fit: FitOptions,
    gate: OutlierOptions,
    **reports: Report,
) -> tuple[Any, ...]:
    """The figures, each for its PNG and its PDF, and the page. Raises RecomputationError, before anything is drawn,
    where a reported number is not what the outputs give. reports: as report_<name of the file>.
    """
    from skytrace.reporting import hubble_figures, posterior_figures
    from skytrace.reporting.style import figure_png
    from skytrace.reporting.supernova_page import supernova_page
    from skytrace.supernovae.recomputation import require_agreement

    require_agreement(recomputation)
    files = by_file(reports)
    fitted = inference_table[~inference_table["held_out"]]
    truths = _truths(files["truth_report.json"])
    drawn = (
        hubble_figures.hubble_figure(_laws(inference_table, outliers, posterior_flat_lcdm, inference, population)),
        hubble_figures.loo_figure(model_comparison),
        hubble_figures.basis_figure(
            fitted["z_hd"].to_numpy(), files["sampler.json"]["basis"], *_correlations(posterior_qfd_anchored)
        ),
        posterior_figures.corner_figure(
            posterior_flat_lcdm, truths=truths and {**truths, "offset": files["truth_report.json"]["truth"]["offset"]}
        ),
        posterior_figures.corner_figure(posterior_qfd_anchored, truths=truths),
        posterior_figures.trace_rank_figure(posterior_qfd_anchored),
        posterior_figures.predictive_figure(fold_scores[fold_scores["model"] == gate.law], posterior_flat_lcdm),
        posterior_figures.prior_predictive_figure(*_prior_draws(fitted, posterior_flat_lcdm, population)),
        _roc_figure(files, outliers, injections, truth, gate),
        *_light_curve_figures(light_curves, light_curve_fits, outliers, fit),
    )
    pictures = {name: figure_png(figure) for name, figure in zip(FIGURES, drawn, strict=True)}
    page = supernova_page(
        {**files, "recomputation.json": recomputation}, summary=posterior_summary, figures=pictures,
        ledger=quality_ledger, notes={"outlier_gallery": _gallery_note(light_curve_fits, outliers)},
    )  # fmt: skip
    return *(figure for figure in drawn for _ in range(2)), page


def _laws(
    table: Table, outliers: Table, posterior: Any, inference: InferenceOptions, population: PopulationOptions
) -> Table:
    """Residuals of every law fitted to the SNe that are no outliers, with the posterior's intrinsic scatter."""
    from skytrace.supernovae.cosmology import CosmologyOptions, fit_cosmology

    sigma = float(posterior.posterior["sigma_int_mag"].mean())
    options = CosmologyOptions(
        h0_km_s_mpc=population.h0_km_s_mpc, log_distance_redshift_power=population.log_distance_redshift_power,
        sigma_int_mag=sigma,
    )  # fmt: skip
    outlier = table["snid"].isin(outliers.loc[outliers["outlier"], "snid"])
    clean = table[~outlier]
    made = table[["snid", "z_hd", "mu_mag"]].assign(
        mu_err_mag=np.hypot(table["mu_err_mag"], sigma), outlier=outlier
    )  # fmt: skip
    for law in inference.models:
        residual = pd.Series(fit_cosmology(clean, law, options=options).residuals_mag, index=clean.index)
        made[f"residual_{law}_mag"] = residual.reindex(table.index)
    return made


def _truths(report: Report) -> dict[str, float] | None:
    """Label of a parameter -> what the sky was made with; its offset is that of flat LambdaCDM alone."""
    if not report["known"]:
        return None
    return {name: report["truth"][name] for name in ("omega_m", "sigma_int_mag")}


def _prior_draws(table: Table, posterior: Any, population: PopulationOptions) -> tuple[np.ndarray, Any, Any]:
    """Redshifts (n,) of a part of the table; residuals (n,) of its SNe about flat LambdaCDM at the posterior's mean; by
    law, residuals (draws, n) about the same that the priors and the noise give.
    """
    from dataclasses import replace

    import jax

    from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus
    from skytrace.supernovae.population import population_data, sample_prior, simulate_alpha

    ordered = table.sort_values("z_hd", kind="stable")
    some = ordered.iloc[np.unique(np.linspace(0, len(table) - 1, min(len(table), _OF_PRIOR)).astype(int))]
    mean = {name: float(posterior.posterior[name].mean()) for name in ("omega_m", "offset")}
    law = flat_lcdm_distance_modulus(
        some["z_hd"].to_numpy(), some["z_hel"].to_numpy(), omega_m=mean["omega_m"], h0_km_s_mpc=population.h0_km_s_mpc
    )  # fmt: skip
    centre = law - mean["offset"] / ALPHA_PER_MAG
    residuals = {}
    with jax.enable_x64(True):
        for model in ("flat_lcdm", "qfd_anchored"):
            options = replace(population, model=model, likelihood="student_t")
            data, _ = population_data(some, options=options)
            first, second = jax.random.split(jax.random.key(_PRIOR_SEED))
            theta = sample_prior(first, _PRIOR_DRAWS, options=options)
            keys = jax.random.split(second, _PRIOR_DRAWS)
            alpha = jax.vmap(lambda key, one: simulate_alpha(key, one, data, options=options))(keys, theta)  # noqa: B023
            residuals[model] = -np.asarray(alpha) / ALPHA_PER_MAG - centre
    return some["z_hd"].to_numpy(), some["mu_mag"].to_numpy() - centre, residuals


def _correlations(posterior: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of the draws of p and of c."""
    draws = (posterior.posterior[name].to_numpy().reshape(-1, 3) for name in ("p", "c"))
    first, second = (np.corrcoef(values.T) for values in draws)
    return first, second


def _roc_figure(reports: Report, outliers: Table, injections: Table, truth: Table, gate: OutlierOptions) -> Any:
    from skytrace.reporting.hubble_figures import outlier_roc_figure

    records = reports["outliers.json"]["known_by"]
    panels: dict[str, tuple[Table, np.ndarray]] = {}
    auc: Report = {}
    known = outliers[outliers["prob_ia"].notna()]
    title = f"published P(Ia) ≤ {gate.prob_ia_min:g}"
    panels[title], auc[title] = (known, (known["prob_ia"] <= gate.prob_ia_min).to_numpy()), records["prob_ia"]["auc"]
    if "truth" in records:
        kind = outliers["snid"].map(truth.set_index("snid")["kind"])
        title = "simulated outliers"
        panels[title], auc[title] = (
            (outliers[kind.notna()], (kind.dropna() != "ia").to_numpy()),
            records["truth"]["auc"],
        )
    for level, figures in reports["outlier_injection.json"]["levels"].items():
        rows = injections[(injections["level"] == level) & injections["neg_elpd"].notna()]
        title = f"injected into {'alpha' if level == 'alpha' else 'light'}"
        panels[title], auc[title] = (rows, rows["injected"].to_numpy(dtype=bool)), figures["auc"]
    return outlier_roc_figure(panels, auc)


def _gallery_note(fits: Table, outliers: Table) -> str:
    """How many of the gate's outliers the gallery could show, and what it shows where there are none."""
    outlying = outliers.loc[outliers["outlier"], "snid"].drop_duplicates()
    seen = int(outlying.isin(fits.loc[fits["ndof"] > 0, "snid"]).sum())
    if seen:
        return f"Of the gate's {len(outlying):,} outliers {seen:,} have a light curve here."
    return (
        f"None of the gate's {len(outlying):,} outliers has a light curve here: these are ordinary SNe, the least well "
        "expected of those that can be shown."
    )


def _light_curve_figures(light_curves: Table, fits: Table, outliers: Table, fit: FitOptions) -> tuple[Any, Any]:
    """The gallery of outliers, and panels of ordinary fits."""
    from skytrace.reporting.light_curve_figures import light_curve_figure

    fits = fits.assign(per_dof=(fits["chi2"] / fits["ndof"]).where(fits["ndof"] > 0))
    per_dof = fits.set_index("snid")["per_dof"]
    seen = outliers[outliers["snid"].isin(fits.loc[fits["per_dof"].notna(), "snid"])].drop_duplicates("snid")
    worst = seen.nlargest(_IN_GALLERY, "neg_elpd")
    titles = {
        str(row.snid): f"{row.snid}: Δμ = {row.residual_mag:+.2f}".replace("Δμ = -", "Δμ = −")
        + f", p = {row.p_outlier:.2f}\nχ²/ndof = {row.chi2_per_dof:.2f}"
        for row in worst.itertuples()
    }
    gallery = light_curve_figure(
        light_curves, fits, worst["snid"].tolist(), model=fit.model, titles=titles,
        absence="None of the SNe that were inferred from has a light curve here.",
    )  # fmt: skip
    good = fits[(fits["flags"] == "") & fits["per_dof"].notna()].sort_values("per_dof", kind="stable")
    if good.empty:
        good = fits[fits["per_dof"].notna()].sort_values("per_dof", kind="stable")
    rows = [round(q / 100 * (len(good) - 1)) for q in _PERCENTILES] + [len(good) - 2, len(good) - 1]
    names = list(dict.fromkeys(good["snid"].iloc[[max(row, 0) for row in rows]]))
    z = fits.set_index("snid")["z_hel"]
    titles = {str(name): f"{name}, z = {z[name]:.2f}\nχ²/ndof = {per_dof[name]:.2f}" for name in names}
    return gallery, light_curve_figure(light_curves, fits, names, model=fit.model, titles=titles)
