"""Figures of a posterior: corner, trace and ranks by chain, and what it predicts for the scatter of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = [
    "corner_figure", "posterior_columns", "predictive_figure", "prior_predictive_figure", "trace_rank_figure",
]  # fmt: skip

_LABELS = {
    "omega_m": r"$\Omega_{\rm M}$", "offset": r"offset [$\alpha$]", "sigma_int_mag": r"$\sigma_{\rm int}$ [mag]",
    "nu": r"$\nu$", "c[1]": "$c_1$", "c[2]": "$c_2$", "c[3]": "$c_3$",
    "outlier_fraction": "outlier share", "outlier_shift": r"outlier shift [$\alpha$]",
    "outlier_sigma": r"outlier scatter [$\alpha$]",
}  # fmt: skip
_CHAINS = tuple(COLOURS[name] for name in ("blue", "vermilion", "green", "purple", "orange", "sky"))


def posterior_columns(posterior: Any) -> dict[str, NDArray[np.float64]]:
    """Sampled parameters by label, each (chain, draw); sigma_int in mag, without the dependent coefficients p."""
    samples, columns = posterior.posterior, {}
    for name in samples.data_vars:
        if name in ("p", "sigma_int"):
            continue
        values = samples[name]
        if values.ndim == 3:
            for value in values[values.dims[2]].to_numpy():
                columns[f"{name}[{value}]"] = values.sel({values.dims[2]: value}).to_numpy()
        else:
            columns[str(name)] = values.to_numpy()
    order = [name for name in _LABELS if name in columns]
    return {name: columns[name] for name in [*order, *(name for name in columns if name not in order)]}


@house_style
def corner_figure(
    posterior: Any, *, truths: dict[str, float] | None = None, size_inches: float = DOUBLE_COLUMN_INCHES,
    title_format: str | None = ".3f",
) -> Figure:  # fmt: skip
    """Every pair of sampled parameters: contours that hold 68 and 95 % of the draws; titles: median and 68 %.

    truths: label -> value of a simulated sky, drawn as a line. title_format: of the numbers in titles; None: two digits
    of each error, the label on a line of its own.
    """
    import corner
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = posterior_columns(posterior)
    figure = Figure(figsize=(size_inches, size_inches))
    FigureCanvasAgg(figure)
    draws = np.column_stack([values.ravel() for values in columns.values()])
    truth = [(truths or {}).get(name) for name in columns]
    spans = []
    for values, value in zip(draws.T, truth, strict=True):
        ends = [values.min(), values.max()] if value is None else [min(values.min(), value), max(values.max(), value)]
        pad = 0.04 * (ends[1] - ends[0])
        spans.append((ends[0] - pad, ends[1] + pad) if value is not None else tuple(ends))
    corner.corner(
        draws, fig=figure, labels=[_LABELS.get(name, name) for name in columns], levels=(0.68, 0.95), bins=30,
        range=spans, smooth=1.0, plot_datapoints=False, plot_density=False, fill_contours=True, color=COLOURS["blue"],
        truths=truth, truth_color=COLOURS["vermilion"], quantiles=(0.16, 0.5, 0.84), show_titles=True,
        title_fmt=title_format or ".2f",
        title_kwargs={"fontsize": 6}, label_kwargs={"fontsize": 7}, max_n_ticks=3, hist_kwargs={"linewidth": 0.8},
        contour_kwargs={"linewidths": 0.7}, labelpad=0.08,
    )  # fmt: skip
    if title_format is None:
        for number, (name, values) in enumerate(zip(columns, draws.T, strict=True)):
            title = f"{_LABELS.get(name, name).split(' [')[0]}\n{_median_words(values)}"
            figure.axes[number * (len(columns) + 1)].set_title(title)
    for axis in figure.axes:
        axis.tick_params(labelsize=6, length=2)
        axis.set_title(axis.get_title().replace("-", "−"), fontsize=6)  # titles are numbers: their minus is a minus
    figure.subplots_adjust(left=0.1, bottom=0.1, right=0.98, top=0.96)
    return figure


def _median_words(values: NDArray[np.float64]) -> str:
    """Median with the distances to the 16th and 84th percentile, in as many digits as two of the smaller need."""
    low, middle, high = np.percentile(values, [16.0, 50.0, 84.0])
    least = min(high - middle, middle - low)
    digits = max(0, 1 - int(np.floor(np.log10(least)))) if least > 0.0 else 2
    return f"${middle:.{digits}f}^{{+{high - middle:.{digits}f}}}_{{-{middle - low:.{digits}f}}}$"


@house_style
def trace_rank_figure(posterior: Any, *, n_bins: int = 20) -> Figure:
    """Left: draws of each chain. Right: histogram of the draws' ranks over all chains, by chain: flat where chains
    explore the same (Vehtari et al. 2021). The band is 95 % of a flat one.
    """
    from scipy.stats import binom, rankdata

    columns = posterior_columns(posterior)
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.3 + 0.92 * len(columns), rows=len(columns), columns=2, squeeze=False,
        width_ratios=(1.4, 1.0),
    )  # fmt: skip
    for (left, right), (name, values) in zip(axes, columns.items(), strict=True):
        n_chains, n_draws = values.shape
        ranks = rankdata(values).reshape(values.shape) - 0.5
        edges = np.linspace(0.0, values.size, n_bins + 1)
        thin = max(1, n_draws // 500)
        for chain in range(n_chains):
            colour = _CHAINS[chain % len(_CHAINS)]
            left.plot(np.arange(n_draws)[::thin], values[chain, ::thin], color=colour, linewidth=0.3, rasterized=True)
            counts, _ = np.histogram(ranks[chain], bins=edges)
            right.stairs(counts, edges, color=colour, linewidth=0.8)
        low, high = binom.ppf([0.025, 0.975], n_draws, 1.0 / n_bins)
        right.axhspan(low, high, color="0.9", zorder=0)
        right.set_ylim(0.0, 2.0 * n_draws / n_bins)
        left.set_ylabel(_LABELS.get(name, name), fontsize=7)
        if right is not axes[-1][1]:
            left.tick_params(labelbottom=False)
            right.tick_params(labelbottom=False)
    axes[-1][0].set_xlabel("draw")
    axes[-1][1].set_xlabel("rank among all chains' draws")
    return figure


@house_style
def predictive_figure(scores: pd.DataFrame, posterior: Any, *, n_draws: int = 200, seed: int = 42) -> Figure:
    """Left: residuals of SNe predicted unseen (points, Poisson errors) and 95 % of what the posterior's Student-t noise
    with each SN's own error gives. Right: their robust scatter by error of the SN, the same way.

    scores: of ``score_fold`` of the posterior's law: residual_mag, mu_err_mag.
    """
    rng = np.random.default_rng(seed)
    samples = posterior.posterior
    rows = rng.integers(samples["nu"].size, size=n_draws)
    nu = samples["nu"].to_numpy().ravel()[rows]
    sigma = samples["sigma_int_mag"].to_numpy().ravel()[rows]
    error = scores["mu_err_mag"].to_numpy()
    scale = np.sqrt(error**2 + sigma[:, None] ** 2)
    replica = scale * rng.standard_t(nu[:, None], size=(n_draws, len(error)))
    seen = scores["residual_mag"].to_numpy()
    figure, (left, right) = new_figure(width=DOUBLE_COLUMN_INCHES, height=2.5, columns=2)
    edges = np.linspace(-2.0, 2.0, 41)
    centre = 0.5 * (edges[1:] + edges[:-1])
    counts, _ = np.histogram(np.clip(seen, -1.99, 1.99), bins=edges)
    expected = np.array([np.histogram(np.clip(one, -1.99, 1.99), bins=edges)[0] for one in replica])
    low, high = np.percentile(expected, [2.5, 97.5], axis=0)
    left.stairs(high, edges, baseline=np.maximum(low, 0.3), fill=True, color=COLOURS["sky"], label="posterior, 95 %")
    some = counts > 0
    left.errorbar(
        centre[some], counts[some], yerr=np.sqrt(counts[some]), fmt="o", color="black", markersize=2.2, elinewidth=0.6,
        label=f"data, n = {len(seen):,}",
    )  # fmt: skip
    left.set(
        yscale="log", ylim=(0.5, None), xlabel="μ − μ predicted [mag] (ends: all beyond)", ylabel="SNe per 0.1 mag"
    )
    left.legend(frameon=False, fontsize=6)
    parts = [part for part in np.array_split(np.argsort(error), 8) if len(part) > 10]
    place = np.arange(len(parts))
    spread = np.array([_mad(seen[part]) for part in parts])
    bands = np.array([np.percentile(_mad(replica[:, part]), [2.5, 97.5]) for part in parts])
    right.vlines(place, bands[:, 0], bands[:, 1], color=COLOURS["sky"], linewidth=7, label="posterior, 95 %")
    right.plot(place, spread, "o", color="black", markersize=3, label="data")
    right.set_xticks(place, [f"{np.median(error[part]):.2f}" for part in parts])
    right.set(xlabel="median error of μ in the bin [mag]", ylabel="1.4826 MAD [mag]", ylim=(0.0, None))
    right.legend(frameon=False, fontsize=6, loc="upper left")
    return figure


@house_style
def prior_predictive_figure(
    z: NDArray[np.float64], residual_mag: NDArray[np.float64], prior: dict[str, NDArray[np.float64]]
) -> Figure:
    """What the priors allow before any data: 68 and 95 % of draws (draws, n) at redshifts z (n,), ascending, one panel
    a law; points: residual_mag (n,) of the data about the same law. Logarithmic beyond 0.5 mag.
    """
    from skytrace.reporting.hubble_figures import LAW_LABELS

    figure, axes = new_figure(width=DOUBLE_COLUMN_INCHES, height=2.5, columns=len(prior), sharey=True, squeeze=False)
    for axis, (law, draws) in zip(axes[0], prior.items(), strict=True):
        ends = np.percentile(draws, [2.5, 16.0, 84.0, 97.5], axis=0)
        axis.fill_between(z, ends[0], ends[3], color=COLOURS["sky"], alpha=0.35, linewidth=0, label="priors, 95 %")
        axis.fill_between(z, ends[1], ends[2], color=COLOURS["sky"], alpha=0.8, linewidth=0, label="priors, 68 %")
        axis.plot(z, residual_mag, ".", color="black", markersize=2, label="data")
        axis.set(xscale="log", xlabel="redshift z")
        axis.set_yscale("symlog", linthresh=0.5)
        ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1.0) if z.min() <= tick <= z.max()]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_yticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
        axis.minorticks_off()
        axis.set_title(LAW_LABELS.get(law, law), fontsize=7)
    axes[0][0].set_ylabel("μ − flat ΛCDM [mag]")
    axes[0][0].legend(frameon=False, fontsize=6, loc="lower left", ncols=3)
    return figure


def _mad(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.4826 * np.median(np.abs(x - np.median(x, axis=-1, keepdims=True)), axis=-1))
