"""The gates, each a function of samples and pre-registered bounds that returns one GateResult.

Gate 1 arc S/N, 2 background, 3 arc colour, 7 parity of the injection path; 4, 5, 6 and 8 have modules of their own. A
gate is insufficient where its samples are too small, whatever their numbers say. Gates 4 and 6 are reported: they have
no registered bound, so they neither pass nor fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.selection.realism.comparison import weighted_quantile
from skytrace.statistics import beta_interval, ks_fixed_sample

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.selection.realism.background import BackgroundSample
    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.options import GateOptions

__all__ = ["GateResult", "gate_arc_colour", "gate_arc_snr", "gate_background", "gate_parity"]

_QUANTILES = {"p10": 0.1, "median": 0.5, "p90": 0.9}
_BANDS = ("g", "r", "z")


@dataclass(frozen=True)
class GateResult:
    """status: pass, fail, insufficient or reported. bound: as registered. Sample sizes, and one sentence."""

    name: str
    status: str
    statistics: dict[str, Any]
    bound: dict[str, Any]
    n_anchors: int
    n_injections: int
    sentence: str


def gate_arc_snr(sample: ComparisonSample, *, options: GateOptions) -> GateResult:
    """Gate 1: median, 10th and 90th percentile of the arc S/N, weighted injections over anchors, within the bounds.

    Judged on the S/N measured after host subtraction on both sides. Where injections carry ``injected_snr`` (their
    injected light alone), the same ratios of it are reported beside, not judged.
    """
    bound = {"ratio_low": options.snr_ratio_low, "ratio_high": options.snr_ratio_high, "quantiles": list(_QUANTILES)}
    sizes = (len(sample.anchors), len(sample.injections))
    statistics: dict[str, Any] = {"counts": dict(sample.counts)}
    if min(sizes) == 0:
        return _insufficient("1 arc S/N", statistics, bound, sizes, options)
    levels = list(_QUANTILES.values())
    weight = sample.injections["weight"].to_numpy(dtype=float)
    fake = sample.injections["arc_snr"].to_numpy(dtype=float)
    real = sample.anchors["arc_snr"].to_numpy(dtype=float)
    injected, observed = weighted_quantile(fake, levels, weight), weighted_quantile(real, levels)
    ratio = injected / observed
    low, high = _bootstrap_anchors(real, lambda draws: injected / weighted_quantile(draws, levels), options)
    statistics |= {"anchors": _named(observed), "injections": _named(injected), "ratio": _named(ratio)}
    statistics |= {"ratio_low68": _named(low), "ratio_high68": _named(high)}
    if "injected_snr" in sample.injections:
        light = sample.injections["injected_snr"].to_numpy(dtype=float)
        statistics["ratio_injected_light"] = _named(weighted_quantile(light, levels, weight) / observed)

    def within(ratios: NDArray[np.float64]) -> Any:
        return np.all((ratios >= options.snr_ratio_low) & (ratios <= options.snr_ratio_high), axis=-1)

    null = _null_draws(sample, fake, options)
    statistics["pass_rate_if_equal"] = float(within(injected / weighted_quantile(null, levels)).mean())
    if _too_few(sizes, options):
        return _insufficient("1 arc S/N", statistics, bound, sizes, options)
    words = ", ".join(
        f"{name} {value:.2f} ({below:.2f}-{above:.2f})"
        for (name, value), below, above in zip(_named(ratio).items(), low, high, strict=True)
    )
    sentence = (
        f"Arc S/N of injections over anchors (measured alike, S/N >= {sample.counts['arc_snr_cut']:.1f}, weighted to "
        f"the anchors' theta_E, PSF and depth), with 68 % intervals: {words}; bound "
        f"{options.snr_ratio_low:g}-{options.snr_ratio_high:g}, judged on the values."
    )
    return GateResult("1 arc S/N", _status(bool(within(ratio))), statistics, bound, *sizes, sentence)


def gate_arc_colour(sample: ComparisonSample, *, options: GateOptions) -> GateResult:
    """Gate 3: the medians of g-r and r-z of the host-subtracted arc light differ by no more than the bound.

    The median is taken of the flux ratios g/r and z/r and turned into a magnitude then: a faint band with a negative
    flux keeps its place in the order, where its colour would be missing and the median biased.
    """
    bound = {"difference_mag": options.colour_difference_mag}
    sizes = (len(sample.anchors), len(sample.injections))
    if _too_few(sizes, options):
        return _insufficient("3 arc colour", {}, bound, sizes, options)
    weight = sample.injections["weight"].to_numpy(dtype=float)
    statistics: dict[str, Any] = {}
    differences, passes = [], np.ones(options.n_null, dtype=bool)
    for name, band, sign in (("g_r", "g", -1.0), ("r_z", "z", 1.0)):
        fake, real = (
            table[f"arc_flux_{band}"].to_numpy(dtype=float) / table["arc_flux_r"].to_numpy(dtype=float)
            for table in (sample.injections, sample.anchors)
        )
        injected = _colour(weighted_quantile(fake, [0.5], weight)[0], sign)
        observed = _colour(weighted_quantile(real, [0.5])[0], sign)
        low, high = _bootstrap_anchors(
            real, lambda draws, c=injected, s=sign: c - _colour(weighted_quantile(draws, [0.5]), s), options
        )
        null = injected - _colour(weighted_quantile(_null_draws(sample, fake, options), [0.5])[:, 0], sign)
        passes &= np.abs(null) <= options.colour_difference_mag
        difference = float(injected - observed)
        differences.append(difference)
        statistics[name] = {
            "anchors": float(observed), "injections": float(injected), "difference": difference,
            "difference_low68": float(low[0]), "difference_high68": float(high[0]),
        }  # fmt: skip
    statistics["pass_rate_if_equal"] = float(passes.mean())
    if not np.isfinite(differences).all():
        return GateResult(
            "3 arc colour", "insufficient", statistics, bound, *sizes, "A median arc flux is not positive: no colour."
        )
    good = bool(np.max(np.abs(differences)) <= options.colour_difference_mag)
    sentence = (
        f"Median arc colours, injections minus anchors: g-r {differences[0]:+.2f}, r-z {differences[1]:+.2f} mag; each "
        f"must be within {options.colour_difference_mag:g} mag."
    )
    return GateResult("3 arc colour", _status(good), statistics, bound, *sizes, sentence)


def gate_background(background: BackgroundSample, *, options: GateOptions) -> GateResult:
    """Gate 2: in every band, KS of background pixels after against before injection at a fixed sample has p > bound.

    What it cannot see is stated too: scatter_ratio as measured in all pixels, and scatter_ratio_failing, the least
    factor on the scatter of these very pixels at which the same test would have failed.
    """
    bound = {"p_min": options.background_p_min, "sample_px": options.background_sample_px}
    sizes = (0, background.n_stamps)
    n_px = len(background.before)
    if n_px < options.background_sample_px:
        sentence = (
            f"{n_px} background pixels are fewer than the {options.background_sample_px} of the registered sample."
        )
        return GateResult("2 background", "insufficient", {"n_px": n_px}, bound, *sizes, sentence)
    statistics: dict[str, Any] = {"n_px": n_px}
    p_values = []
    for place in range(background.before.shape[1]):
        before, after = background.before[:, place], background.after[:, place]
        test = ks_fixed_sample(
            after, before, n=options.background_sample_px, n_resamples=options.background_resamples,
            seed=options.seed + place,
        )  # fmt: skip
        p_values.append(test.p_value)
        statistics[_BANDS[place]] = {
            "d": test.statistic, "d_low68": test.statistic_low, "d_high68": test.statistic_high, "p": test.p_value,
            "mean_shift_sigma": float(np.mean(after - before)), "scatter_ratio": float(after.std() / before.std()),
            "scatter_ratio_failing": _least_scatter_failing(before, seed=options.seed + place, options=options),
        }  # fmt: skip
    words = ", ".join(
        f"{b} D = {statistics[b]['d']:.3f}, p = {statistics[b]['p']:.2g}" for b in _BANDS[: len(p_values)]
    )
    sentence = (
        f"Background after against before injection at {options.background_sample_px:,} pixels: {words}; "
        f"each p must exceed {options.background_p_min:g}. Scatter after over before, and the least ratio that "
        f"would fail here: {', '.join(_scatter_words(band, statistics[band]) for band in _BANDS[: len(p_values)])}."
    )
    return GateResult(
        "2 background", _status(min(p_values) > options.background_p_min), statistics, bound, *sizes, sentence
    )


def _least_scatter_failing(before: NDArray[np.float64], *, seed: int, options: GateOptions) -> float | None:
    """Least factor on the scatter of the pixels (m,) about their median with p <= bound, to 0.001; None above 16."""
    middle = float(np.median(before))

    def fails(factor: float) -> bool:
        test = ks_fixed_sample(
            middle + factor * (before - middle), before, n=options.background_sample_px,
            n_resamples=options.background_resamples, seed=seed,
        )  # fmt: skip
        return test.p_value <= options.background_p_min

    low, high = 1.0, 2.0
    while not fails(high):
        low, high = high, 2.0 * high
        if low >= 16.0:
            return None
    while high - low > 1e-3:
        middle_factor = 0.5 * (low + high)
        low, high = (low, middle_factor) if fails(middle_factor) else (middle_factor, high)
    return high


def _scatter_words(band: str, found: dict[str, float | None]) -> str:
    failing = found["scatter_ratio_failing"]
    return f"{band} {found['scatter_ratio']:.3f} and " + ("above 16" if failing is None else f"{failing:.2f}")


def gate_parity(parity: pd.DataFrame, *, threshold: float, options: GateOptions) -> GateResult:
    """Gate 7: a zero-flux injection gives the host's own score, bit for bit, and look-alikes' false positives stay.

    parity: one row a host and condition: host_score, zero_score (NaN where none was made), and category where known
    (the kind of look-alike; "" for none). Detected means score >= threshold.
    """
    bound = {"max_score_difference": 0.0}
    before, after = (parity[name].to_numpy(dtype=float) for name in ("host_score", "zero_score"))
    made = np.isfinite(before) & np.isfinite(after)
    statistics: dict[str, Any] = {"n": int(made.sum()), "n_without_zero_injection": int((~made).sum())}
    sizes = (0, int(made.sum()))
    if not made.any():
        return GateResult("7 parity", "insufficient", statistics, bound, *sizes, "No zero-flux injection was scored.")
    before, after = before[made], after[made]
    difference = float(np.max(np.abs(after - before)))
    statistics |= {"max_score_difference": difference, "n_changed": int((after != before).sum())}
    statistics["false_positive_rate"] = {"all": _rates(before, after, threshold)}
    if "category" in parity:
        category = parity["category"].fillna("").astype(str).to_numpy()[made]
        for name in sorted(set(category) - {""}):
            rows = category == name
            statistics["false_positive_rate"][name] = _rates(before[rows], after[rows], threshold)
    overall = statistics["false_positive_rate"]["all"]
    sentence = (
        f"{statistics['n_changed']} of {len(before)} host-condition pairs change their score under a zero-flux "
        f"injection (largest change {difference:.1e}, must be 0); false positives {overall['before']} before, "
        f"{overall['after']} after."
    )
    unchanged = all(rate["before"] == rate["after"] for rate in statistics["false_positive_rate"].values())
    return GateResult("7 parity", _status(difference == 0.0 and unchanged), statistics, bound, *sizes, sentence)


def _rates(before: NDArray[np.float64], after: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    k, n = int((before >= threshold).sum()), len(before)
    low, high = beta_interval(k, n)
    return {
        "before": k, "after": int((after >= threshold).sum()), "n": n, "rate": k / n, "low68": float(low),
        "high68": float(high),
    }  # fmt: skip


def _bootstrap_anchors(real: NDArray[np.float64], statistic: Any, options: GateOptions) -> tuple[NDArray, NDArray]:
    """68.27 % range of ``statistic`` over resampled anchors: (resample, n) -> (resample, k)."""
    from skytrace.statistics import bootstrap_indices

    index = bootstrap_indices(len(real), n_resamples=options.n_null, seed=options.seed)
    draws = statistic(real[index])
    return np.nanquantile(draws, 0.15865, axis=0), np.nanquantile(draws, 0.84135, axis=0)


def _null_draws(sample: ComparisonSample, values: NDArray[np.float64], options: GateOptions) -> NDArray[np.float64]:
    """Mock sets of anchors drawn from the weighted injections themselves: what a gate says when nothing differs."""
    weight = sample.injections["weight"].to_numpy(dtype=float)
    rng = np.random.default_rng(options.seed + 1)
    index = rng.choice(len(weight), size=(options.n_null, len(sample.anchors)), p=weight / weight.sum())
    return values[index]


def _colour(ratio: Any, sign: float) -> Any:
    ratio = np.asarray(ratio, dtype=np.float64)
    return np.where(ratio > 0, sign * 2.5 * np.log10(np.where(ratio > 0, ratio, 1.0)), np.nan)


def _too_few(sizes: tuple[int, int], options: GateOptions) -> bool:
    return sizes[0] < options.min_anchors or sizes[1] < options.min_injections


def _insufficient(
    name: str, statistics: dict[str, Any], bound: dict[str, Any], sizes: tuple[int, int], options: GateOptions
) -> GateResult:
    sentence = (
        f"{sizes[0]} anchors and {sizes[1]} injections can be compared; the gate needs {options.min_anchors} and "
        f"{options.min_injections}."
    )
    return GateResult(name, "insufficient", statistics, bound, *sizes, sentence)


def _status(good: bool) -> str:
    return "pass" if good else "fail"


def _named(values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(_QUANTILES, map(float, values), strict=True))
