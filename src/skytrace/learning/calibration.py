"""From scores to probabilities: four monotone maps, fitted on validation scores and held as numbers in JSON.

Temperature: logit / T (Guo et al. 2017, eq. 9). Platt: a logit + b (Platt 1999). Beta: a ln s - b ln(1 - s) + c, which
is Platt's for a = b and bends the two ends apart (Kull, Silva Filho & Flach 2017, eq. 2). Isotonic: the best monotone
steps (Zadrozny & Elkan 2002). What comes out is a probability at the validation sample's share of lenses, or at that of
the weights: not at the sky's. Temperature alone cannot move scores from one share of lenses to another; the others can.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from skytrace.errors import CatalogueError, OptionError, check_between, check_choice
from skytrace.learning.metrics import calibration_errors, check_scores, top_scores
from skytrace.learning.options import CalibrationOptions
from skytrace.learning.resampling import drawn_by
from skytrace.learning.stacking import clipped_logit, fold_numbers
from skytrace.statistics import bootstrap_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Calibrator",
    "calibration_verdict",
    "compare_calibrations",
    "fit_calibrator",
    "log_loss",
    "select_calibrator",
]

_PARAMETERS = {
    "none": (),
    "temperature": ("temperature",),
    "platt": ("slope", "intercept"),
    "beta": ("low_slope", "high_slope", "intercept"),
    "isotonic": ("scores", "probabilities"),
}
_TEMPERATURES = (1e-3, 1e3)
#: So weak a penalty (1 / C of sum of losses) that it decides only where lenses and galaxies are separated, and no slope
#: would be the best.
_WEAK = 1e4


@dataclass(frozen=True)
class Calibrator:
    """A monotone map of scores. parameters: JSON-ready numbers, by method: temperature; slope, intercept; low_slope,
    high_slope (of ln s and -ln(1 - s)), intercept; or the knots scores, probabilities of a curve that is straight
    between them. "none" leaves scores as they are.
    """

    method: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("method", self.method, tuple(_PARAMETERS))
        if set(self.parameters) != set(_PARAMETERS[self.method]):
            raise OptionError(f"a {self.method} calibration is {_PARAMETERS[self.method]}; got {list(self.parameters)}")
        for name, values in self.parameters.items():
            if not np.isfinite(values).all():
                raise OptionError(f"{name} = {values!r} of the calibration is not finite")
        if self.method == "temperature":
            check_between("temperature", self.parameters["temperature"], 0.0, np.inf, include_low=False)
        for name in ("slope", "low_slope", "high_slope"):
            if name in self.parameters:
                check_between(name, self.parameters[name], 0.0, np.inf)
        if self.method == "isotonic":
            x, p = self.parameters["scores"], self.parameters["probabilities"]
            if len(x) != len(p) or not len(x) or np.any(np.diff(x) < 0) or np.any(np.diff(p) < 0):
                raise OptionError("the knots of an isotonic calibration must rise together")
            check_between("probabilities", min(p), 0.0, 1.0)
            check_between("probabilities", max(p), 0.0, 1.0)

    def apply(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Probabilities (n,), in the order of the scores: a higher score never gets a lower one."""
        scores = np.asarray(scores, dtype=np.float64)
        if not ((scores >= 0) & (scores <= 1)).all():
            raise OptionError("scores to be calibrated must be in [0, 1]")
        if self.method == "temperature":
            return expit(clipped_logit(scores) / self.parameters["temperature"])
        if self.method == "platt":
            return expit(self.parameters["slope"] * clipped_logit(scores) + self.parameters["intercept"])
        if self.method == "beta":
            low, high = (self.parameters[name] for name in ("low_slope", "high_slope"))
            return expit(_beta_terms(scores) @ np.array([low, high]) + self.parameters["intercept"])
        if self.method == "isotonic":
            return np.interp(scores, self.parameters["scores"], self.parameters["probabilities"])
        return scores.copy()

    def as_dict(self) -> dict[str, Any]:
        """For a model card: {"method", "parameters"}, from which ``Calibrator(**record)`` is the same again."""
        return {"method": self.method, "parameters": dict(self.parameters)}


def fit_calibrator(
    scores: ArrayLike, labels: ArrayLike, *, method: str, weights: ArrayLike | None = None
) -> Calibrator:
    """The map of ``method`` with the least (weighted) log loss, or for isotonic the least squares.

    scores, labels: (n,), of stamps that the detector was not trained on. weights: (n,), not negative: e.g. to bring the
    sample to another share of lenses. Raises CatalogueError without both classes.
    """
    check_choice("method", method, tuple(_PARAMETERS))
    scores, labels = check_scores(scores, labels)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != labels.shape or not (np.isfinite(weights) & (weights >= 0)).all():
        raise CatalogueError("weights of a calibration must be one finite number >= 0 a stamp")
    if not all((weights[labels == value] > 0).any() for value in (0, 1)):
        raise CatalogueError("a calibration needs both lenses and galaxies")
    if method == "temperature":
        return Calibrator("temperature", {"temperature": _fit_temperature(scores, labels, weights)})
    if method == "platt":
        return Calibrator("platt", _fit_platt(scores, labels, weights))
    if method == "beta":
        return Calibrator("beta", _fit_beta(scores, labels, weights))
    if method == "isotonic":
        return Calibrator("isotonic", _fit_isotonic(scores, labels, weights))
    return Calibrator("none")


def select_calibrator(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    options: CalibrationOptions | None = None,
    weights: ArrayLike | None = None,
) -> tuple[Calibrator, dict[str, Any]]:
    """The method with the least cross-validated log loss, fitted to all rows, and the comparison (JSON-ready).

    Each fold is scored by maps fitted on the others. Uncalibrated scores are compared but never chosen. Raises
    CatalogueError where a class has fewer members than folds.
    """
    options = options or CalibrationOptions()
    scores, labels = check_scores(scores, labels)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    fold = fold_numbers(labels, folds=options.folds, seed=options.seed)
    losses = {}
    for method in ("none", *options.methods):
        crossed = np.empty(len(labels))
        for number in range(options.folds):
            held = fold == number
            fitted = fit_calibrator(scores[~held], labels[~held], method=method, weights=weights[~held])
            crossed[held] = fitted.apply(scores[held])
        losses[method] = log_loss(crossed, labels, weights=weights)
    best = min(options.methods, key=lambda method: losses[method])
    chosen = fit_calibrator(scores, labels, method=best, weights=weights)
    return chosen, {
        **chosen.as_dict(),
        "cross_validated_log_loss": losses,
        "folds": options.folds,
        "fitted_on": {"lenses": int(labels.sum()), "galaxies": int((labels == 0).sum())},
        "meaning": "probabilities at the share of lenses of the sample that the map was fitted on",
    }


def log_loss(probabilities: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Mean of -log(probability of what was true), weighted; probabilities kept 1e-12 away from 0 and 1."""
    z = clipped_logit(probabilities)
    losses = np.logaddexp(0.0, np.where(np.asarray(labels) == 1, -z, z))
    return float(np.average(losses, weights=None if weights is None else np.asarray(weights, dtype=np.float64)))


def calibration_verdict(
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    *,
    cells: ArrayLike | None = None,
    options: CalibrationOptions | None = None,
) -> dict[str, Any]:
    """Expected and maximum calibration error before and after, over all stamps and the top share, with intervals.

    before, after, labels: (n,), of a split that nothing was fitted on. JSON-ready. ``met``: the error itself is within
    its limit; ``met_at_95``: the upper end of its 95 % interval is, too. An expected calibration error is biased
    upwards by the counting noise of its bins, and its bootstrap once more: a small sample misses a limit by noise
    alone. cells: (n,) sky cell of each stamp, drawn whole where there are enough (``learning.resampling``).
    ``noise_mean`` and ``noise_95`` say what perfectly calibrated labels of these very scores would show.
    """
    options = options or CalibrationOptions()
    after, labels = check_scores(after, labels)
    before, _ = check_scores(before, labels)
    # whole rows, not classes apart: the share of lenses is part of what a calibration claims
    drawn = drawn_by(None, cells, rows=len(labels))
    record: dict[str, Any] = {"resampled": "sky cells" if "clusters" in drawn else "stamps"}
    for part, share, limit in (("all", 1.0, options.ece_max), ("top", options.top_share, options.ece_max_top)):
        entry: dict[str, Any] = {"share": share, "limit": limit}
        # the same stamps before and after: a calibrated score may be the same for many, the raw one hardly ever
        entry["before"] = {"ece": _error_interval(before, before, labels, 0, share, drawn, options)}
        entry["after"] = {
            name: _error_interval(before, after, labels, which, share, drawn, options)
            for which, name in enumerate(("ece", "mce"))
        }
        chosen = top_scores(before, share=share)
        entry |= {"n": int(chosen.sum()), "lenses": int(labels[chosen].sum())}
        entry |= _noise(after[chosen], options)
        ece = entry["after"]["ece"]
        entry["met"] = bool(ece["value"] <= limit)
        entry["met_at_95"] = bool(ece["high_95"] <= limit)
        record[part] = entry
    record["sentence"] = (
        f"After calibration the expected calibration error is {record['all']['after']['ece']['value']:.4f} over all "
        f"{len(labels)} stamps (limit {options.ece_max:g}) and {record['top']['after']['ece']['value']:.4f} in the top "
        f"{options.top_share:g} ({record['top']['n']} stamps; limit {options.ece_max_top:g}): "
        + ("both limits are met." if record["all"]["met"] and record["top"]["met"] else "not both limits are met.")
        + f" Counting noise alone shows up to {record['all']['noise_95']:.4f} and {record['top']['noise_95']:.4f} "
        "in samples of these sizes (95 %)."
    )
    return record


def compare_calibrations(
    fitted_on: tuple[ArrayLike, ArrayLike],
    judged_on: tuple[ArrayLike, ArrayLike],
    *,
    cells: ArrayLike | None = None,
    options: CalibrationOptions | None = None,
) -> dict[str, dict[str, Any]]:
    """Method -> log loss and expected calibration errors (all stamps, top share; with intervals) of a sample that
    nothing was fitted on: how much the choice matters. It is no choice: that is ``select_calibrator``'s alone.

    fitted_on, judged_on: (scores, labels). cells: (n,) sky cell of what is judged, as in ``calibration_verdict``.
    """
    options = options or CalibrationOptions()
    scores, labels = check_scores(*judged_on)
    drawn = drawn_by(None, cells, rows=len(labels))
    table = {}
    for method in ("none", *options.methods):
        after = fit_calibrator(*fitted_on, method=method).apply(scores)
        errors = [_error_interval(scores, after, labels, 0, share, drawn, options) for share in (1, options.top_share)]
        noise = _noise(after, options)
        table[method] = {"log_loss": log_loss(after, labels), "ece": errors[0], "ece_top": errors[1], **noise}
    return table


def _fit_temperature(scores: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    from scipy.optimize import minimize_scalar

    z = clipped_logit(scores)

    def loss(log_temperature: float) -> float:
        return log_loss(expit(z * np.exp(-log_temperature)), labels, weights=weights)

    low, high = np.log(_TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9}).x))


def _fit_platt(
    scores: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression

    z = clipped_logit(scores)[:, None]
    model = LogisticRegression(C=_WEAK, tol=1e-10, max_iter=10_000).fit(z, labels, sample_weight=weights)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope >= 0:
        return {"slope": slope, "intercept": intercept}
    # a detector that ranks backwards is not turned round behind its back: the best map that keeps the order is flat
    return {"slope": 0.0, "intercept": float(logit(np.average(labels, weights=weights)))}


def _beta_terms(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln s and -ln(1 - s), (n, 2), of scores kept away from 0 and 1."""
    z = clipped_logit(scores)
    return np.stack([-np.logaddexp(0.0, -z), np.logaddexp(0.0, z)], axis=1)


def _fit_beta(scores: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]) -> dict[str, float]:
    from scipy.optimize import minimize

    terms, sign, total = _beta_terms(scores), np.where(labels == 1, -1.0, 1.0), weights.sum()

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        u = sign * (terms @ x[:2] + x[2])
        pull = weights * sign * expit(u)
        slopes = np.append(x[:2], 0.0) / _WEAK
        value = float(weights @ np.logaddexp(0.0, u) + 0.5 * slopes @ x)
        return value / total, (np.append(terms.T @ pull, pull.sum()) + slopes) / total

    # convex, and a slope below zero would turn the ranking round
    tight = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000}
    best = minimize(
        loss, np.array([1.0, 1.0, 0.0]), jac=True, method="L-BFGS-B", options=tight,
        bounds=[(0.0, None), (0.0, None), (None, None)],
    )  # fmt: skip
    return dict(zip(_PARAMETERS["beta"], map(float, best.x), strict=True))


def _fit_isotonic(
    scores: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, list[float]]:
    from sklearn.isotonic import IsotonicRegression

    # no sample of n proves a probability of 0 or 1: the ends stay half a stamp away
    floor = 0.5 / (len(labels) + 1.0)
    used = weights > 0
    model = IsotonicRegression(y_min=floor, y_max=1.0 - floor, out_of_bounds="clip")
    model.fit(scores[used], labels[used], sample_weight=weights[used])
    return {"scores": model.X_thresholds_.tolist(), "probabilities": model.y_thresholds_.tolist()}


def _error_interval(
    ranking: NDArray[np.float64],
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    which: int,
    share: float,
    drawn: dict[str, Any],
    options: CalibrationOptions,
) -> dict[str, float]:
    def error(raw: NDArray, s: NDArray, y: NDArray) -> float:
        chosen = top_scores(raw, share=share)
        return calibration_errors(s[chosen], y[chosen])[which]

    interval = bootstrap_interval(
        error, ranking, scores, labels, n_resamples=options.n_resamples, seed=options.seed, **drawn
    )
    return interval.as_dict()


def _noise(scores: NDArray[np.float64], options: CalibrationOptions) -> dict[str, float]:
    """Mean and 95th percentile of the expected calibration error of labels drawn from the scores themselves."""
    rng = np.random.default_rng(options.seed)
    draws = [calibration_errors(scores, rng.random(len(scores)) < scores)[0] for _ in range(options.n_resamples)]
    return {"noise_mean": float(np.mean(draws)), "noise_95": float(np.quantile(draws, 0.95))}
