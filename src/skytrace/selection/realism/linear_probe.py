"""Gate 8: can a straight line through the detector's own features tell real lenses from injections?

A detector that separates them may find the one and miss the other for reasons that have nothing to do with lensing; a
completeness measured with such injections is not the completeness of lenses. Anchors and injections are matched in arc
brightness and host, or the probe would see these. Frechet distance: Dowson & Landau 1982; of two Gaussians with the
samples' means and covariances, biased upwards in small samples, hence stated beside its own permutations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.selection.realism.cross_validation import (
    CrossValidatedAuc,
    cross_validated_auc,
    fold_numbers,
    out_of_fold,
    within_fold_auc,
)
from skytrace.selection.realism.gates import GateResult
from skytrace.selection.realism.matching import MatchedSets, match_injections, match_points, matching_steps
from skytrace.selection.realism.options import LinearProbeOptions
from skytrace.selection.realism.planting import main_scores, planted_anchors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.options import GateOptions

__all__ = ["frechet_distance", "gate_linear_probe"]

_NAME = "8 linear probe"


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)) of samples (n, d) and (m, d) with covariances A, B.

    tr (A B)^(1/2) is the sum of the singular values of the product of the centred samples: no d x d matrix is formed.
    Raises CatalogueError with fewer than two points in a sample.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
        raise CatalogueError(f"a Frechet distance needs two points or more of one width; got {a.shape} and {b.shape}")
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    left, right = (a - mean_a) / np.sqrt(len(a) - 1), (b - mean_b) / np.sqrt(len(b) - 1)
    inner = left @ right.T if min(len(a), len(b)) <= a.shape[1] else _root_product(left, right)
    shared = np.linalg.svd(inner, compute_uv=False).sum()
    return float(((mean_a - mean_b) ** 2).sum() + (left**2).sum() + (right**2).sum() - 2.0 * shared)


def gate_linear_probe(
    sample: ComparisonSample,
    anchor_features: Mapping[str, NDArray[np.floating]],
    injection_features: Mapping[str, NDArray[np.floating]],
    *,
    probed: str = "penultimate",
    group_column: str = "galaxy_id",
    alternative: NDArray[np.floating] | None = None,
    gates: GateOptions,
    options: LinearProbeOptions | None = None,
) -> GateResult:
    """Gate 8: cross-validated AUC of a logistic regression on the features of layer ``probed``, at most ``auc_max``.

    anchor_features, injection_features: layer -> (n, d) of ``learning.features.detector_features``, in the order of
    sample.anchors and sample.injections; every layer gets a Frechet distance. sample: columns of the matching and
    ``group_column`` (host or sky cell, never split between folds).
    Size and power: mock anchors drawn from the injections, as many as the matched anchors, against the others; by
    weight alone (false_alarm_rate; interval_holds_half), and such that the best classifier, a linear one, has AUC
    ``planted_auc`` (power) or one of ``stated_aucs`` (power_at, by AUC): see ``planting``. best_auc...: the AUC of that
    classifier as counted in the matched rows of the trials; auc_if...: what the probe itself reached, on average.
    alternative: (n, d) features of the same injections made otherwise (another source family),
    for the power against that instead. A pass needs power >= min_power, else the gate is insufficient.
    Raises CatalogueError where features do not fit the tables.
    """
    options = options or LinearProbeOptions()
    bound = {
        "auc_max": options.auc_max, "layer": probed, "min_power": options.min_power,
        "arc_snr_step_dex": options.arc_snr_step_dex,
    }  # fmt: skip
    _check_features(sample, anchor_features, injection_features, probed, group_column)
    matched = match_injections(
        sample, per_anchor=options.per_anchor, options=gates, arc_snr_step_dex=options.arc_snr_step_dex
    )
    sizes = (int(matched.is_anchor.sum()), int((~matched.is_anchor).sum()))
    statistics: dict[str, Any] = {"anchors_without_match": matched.n_unmatched}
    if sizes[0] < gates.min_anchors or sizes[1] < gates.min_injections:
        sentence = f"{sizes[0]} anchors and {sizes[1]} injections are matched in arc brightness and host; the gate "
        sentence += f"needs {gates.min_anchors} and {gates.min_injections}."
        return GateResult(_NAME, "insufficient", statistics, bound, *sizes, sentence)
    groups = [table[group_column].to_numpy().astype(str) for table in (sample.anchors, sample.injections)]
    both = {
        name: np.concatenate([anchor_features[name], injection_features[name]])[matched.rows].astype(np.float64)
        for name in anchor_features
    }
    result = cross_validated_auc(
        both[probed], matched.is_anchor, sets=matched.sets, groups=np.concatenate(groups)[matched.rows],
        relabel=matched.relabelled, classifier=_maker(options), options=options,
    )  # fmt: skip
    statistics |= result.as_dict()
    statistics["frechet"] = {name: _frechet(values, matched, options) for name, values in both.items()}
    statistics |= _size_and_power(
        sample, injection_features[probed], alternative, groups[1], sizes[0], result, gates, options
    )
    return _judged(result, statistics, bound, sizes, options)


def _judged(
    result: CrossValidatedAuc,
    statistics: dict[str, Any],
    bound: dict[str, Any],
    sizes: tuple[int, int],
    options: LinearProbeOptions,
) -> GateResult:
    power, alarms = statistics["power"], statistics["false_alarm_rate"]
    sentence = (
        f"A linear probe of the {bound['layer']} features tells anchors from injections of matched arc brightness and "
        f"host with AUC {result.auc:.3f} (95 %: {result.low_95:.3f}-{result.high_95:.3f}, permutation p "
        f"{result.p:.3f}; at most {options.auc_max:g})."
    )
    if power is not None:
        sentence += (
            f" With {sizes[0]} mock anchors drawn from the injections it exceeds the bound in {alarms:.0%} of "
            f"{statistics['n_simulations']} trials where nothing differs and in {power:.0%} where "
            f"{statistics['power_against']} (its own mean AUC there: {statistics['auc_if_changed']:.2f})"
        )
        reached = statistics["auc_if_changed_at"]
        at = [f"in {share:.0%} at {auc} ({reached[auc]:.2f})" for auc, share in statistics["power_at"].items()]
        sentence += f"; by the AUC of the best, {', '.join(at)}." if at else "."
    weak = power is None or power < options.min_power
    if weak:
        sentence += " " + (
            "There are too few injections to measure its power" if power is None
            else f"That power, {power:.0%}, is below the {options.min_power:.0%} asked for"
        ) + ": a pass would mean nothing."  # fmt: skip
    status = "fail" if result.auc > options.auc_max else "insufficient" if weak else "pass"
    return GateResult(_NAME, status, statistics, bound, *sizes, sentence)


def _frechet(values: NDArray[np.float64], matched: MatchedSets, options: LinearProbeOptions) -> dict[str, float]:
    """Frechet distance of the anchors and as many injections, one of each set, and of labels exchanged within sets."""
    first = np.unique(matched.sets[~matched.is_anchor], return_index=True)[1]
    real = values[matched.is_anchor]
    fake = values[~matched.is_anchor][first]
    rng = np.random.default_rng(options.seed + 3)
    observed = frechet_distance(real, fake)
    exchanged = np.empty(options.n_frechet)
    for k in range(options.n_frechet):
        swap = rng.random(len(real))[:, None] < 0.5
        exchanged[k] = frechet_distance(np.where(swap, fake, real), np.where(swap, real, fake))
    hits = int((exchanged >= observed * (1.0 - 1e-12)).sum())
    return {
        "distance": observed, "if_equal": float(exchanged.mean()), "if_equal_sd": float(exchanged.std(ddof=1)),
        "p": (1.0 + hits) / (1.0 + options.n_frechet),
    }  # fmt: skip


def _size_and_power(
    sample: ComparisonSample,
    features: NDArray[np.floating],
    alternative: NDArray[np.floating] | None,
    groups: NDArray,
    n: int,
    result: CrossValidatedAuc,
    gates: GateOptions,
    options: LinearProbeOptions,
) -> dict[str, Any]:
    """How often mock anchors drawn from the injections exceed the bound, drawn evenly and so that they differ."""
    features = np.asarray(features, dtype=np.float64)
    steps = matching_steps(sample.injections, sample.axes, options=gates, arc_snr_step_dex=options.arc_snr_step_dex)
    weight = sample.injections["weight"].to_numpy(dtype=np.float64)
    against = f"the best linear classifier has AUC {options.planted_auc:g}, along main components of the features"
    said = {"power_against": against if alternative is None else "sources are those of the alternative"}
    if not options.n_simulations or len(features) < n * (1 + options.per_anchor):
        return {"power": None, "power_at": {}, "false_alarm_rate": None, "n_simulations": 0, **said}
    # the alternative is seen in the features of mock anchors drawn evenly
    aims = {"equal": 0.5, "changed": options.planted_auc if alternative is None else 0.5}
    aims |= {f"{auc:g}": auc for auc in options.stated_aucs}
    rng = np.random.default_rng(options.seed + 2)
    scores = main_scores(features, steps, n=options.n_simulations, rng=rng)
    found, best = np.empty((2, len(scores), len(aims)))
    for trial, score in enumerate(scores):
        seed = int(rng.integers(2**63))
        for place, (name, auc) in enumerate(aims.items()):
            mock = planted_anchors(score, auc=auc, n=n, weight=weight, seed=seed)
            rest = np.setdiff1d(np.arange(len(features)), mock)
            matched = match_points(
                steps[mock], steps[rest], per_anchor=options.per_anchor, max_distance=gates.max_distance_steps
            )
            order, is_anchor = np.concatenate([mock, rest])[matched.rows], matched.is_anchor
            values = features[order]
            if name == "changed" and alternative is not None:
                values[is_anchor] = np.asarray(alternative, dtype=np.float64)[order[is_anchor]]
            fold, _ = fold_numbers(is_anchor, matched.sets, groups[order], options=options)
            told, _ = out_of_fold(values, is_anchor, fold, _maker(options))
            found[trial, place] = within_fold_auc(told, is_anchor, fold)[0]
            best[trial, place] = within_fold_auc(score[order], is_anchor, fold)[0]
    above = dict(zip(aims, (found > options.auc_max).mean(axis=0).tolist(), strict=True))
    mean = dict(zip(aims, found.mean(axis=0).tolist(), strict=True))
    optimum = dict(zip(aims, best.mean(axis=0).tolist(), strict=True))
    half_width, stated = 0.5 * (result.high_95 - result.low_95), list(aims)[2:]
    return {
        "power": above["changed"], "power_at": {auc: above[auc] for auc in stated},
        "auc_if_changed_at": {auc: mean[auc] for auc in stated},
        "best_auc_if_changed_at": {auc: optimum[auc] for auc in stated},
        "false_alarm_rate": above["equal"],
        "interval_holds_half": float(np.mean(np.abs(found[:, 0] - 0.5) <= half_width)),
        "auc_if_equal": mean["equal"], "auc_if_changed": mean["changed"],
        "best_auc_if_changed": optimum["changed"] if alternative is None else None,
        "n_simulations": len(scores), **said,
    }  # fmt: skip


def _root_product(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """(d, d) matrix with the singular values of left @ right.T, by their triangular factors: for samples above d."""
    return np.asarray(np.linalg.qr(left, mode="r")) @ np.asarray(np.linalg.qr(right, mode="r")).T


def _check_features(
    sample: ComparisonSample,
    anchor_features: Mapping[str, NDArray],
    injection_features: Mapping[str, NDArray],
    probed: str,
    group_column: str,
) -> None:
    if set(anchor_features) != set(injection_features) or probed not in anchor_features:
        raise CatalogueError(
            f"layers {sorted(anchor_features)} and {sorted(injection_features)} must be the same, with {probed!r}"
        )
    for table, features in ((sample.anchors, anchor_features), (sample.injections, injection_features)):
        if group_column not in table.columns:
            raise CatalogueError(f"the compared tables lack the column {group_column} that folds keep whole")
        for name, values in features.items():
            if np.ndim(values) != 2 or len(values) != len(table) or not np.isfinite(values).all():
                raise CatalogueError(
                    f"features {name} of shape {np.shape(values)} are not {len(table)} rows of finite numbers"
                )


def _maker(options: LinearProbeOptions) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return lambda: make_pipeline(
        StandardScaler(),
        LogisticRegression(C=options.inverse_regularisation, class_weight="balanced", max_iter=300, tol=1e-3),
    )
