"""Classifiers from known positives and unlabelled rows beside pulearn, on Gaussians whose densities are known.

Figures are of held-out truth: ranking as a share of the Bayes bound, mean probability over the prior, and log-loss
skill, 1 - loss / loss of the prior itself, both at the true prior. pulearn is run by `uv` in an environment of its own,
with the same boosted trees (its nnPU is linear); where that cannot be had, the row says so. --check: our three
classifiers keep their bounds: AUROC within 0.01 of Bayes', recall at false-positive rates of 1e-2 and 1e-3 at
least 0.88 and 0.58 of Bayes', mean probability 0.8 to 1.2 of the prior.
"""

from __future__ import annotations

from benchmarks.measure import arguments, broken_bounds, error_figures, note, one_thread, print_line  # isort: skip

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

PRIOR, N_POSITIVES = 0.01, 600
FULL = {"n_unlabelled": 30_000, "folds": 5, "held_out": (20_000, 200_000)}
QUICK = {"n_unlabelled": 10_000, "folds": 3, "held_out": (5000, 50_000)}
PEER_PACKAGES = ("pulearn==0.2.0", "scikit-learn<1.7", "numpy<2.3", "lightgbm")
#: The packages may have to be fetched and unpacked first.
PEER_SECONDS = 300
NAMES = ("elkan_noto", "weighted", "non_negative")
INFINITE = float("inf")
BOUNDS = {
    **{f"{name}_auroc_below_bayes": (-INFINITE, 0.01) for name in NAMES},
    **{f"{name}_recall_1e2_of_bayes": (0.88, INFINITE) for name in NAMES},
    **{f"{name}_recall_1e3_of_bayes": (0.58, INFINITE) for name in NAMES},
    **{f"{name}_mean_over_prior": (0.8, 1.2) for name in NAMES},
}


def log_loss_skill(probability: np.ndarray, truth: np.ndarray) -> float:
    """1 - log-loss / that of calling every row the prior, rows weighted to the prior; p is cut to (0, 1)."""
    p = np.clip(probability, 1e-12, 1.0 - 1e-12)
    loss = -PRIOR * np.log(p[truth == 1]).mean() - (1.0 - PRIOR) * np.log1p(-p[truth == 0]).mean()
    return 1.0 + float(loss / (PRIOR * np.log(PRIOR) + (1.0 - PRIOR) * np.log1p(-PRIOR)))


def mean_over_prior(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean probability of a field at the prior, over the prior."""
    field = PRIOR * probability[truth == 1].mean() + (1.0 - PRIOR) * probability[truth == 0].mean()
    return float(field / PRIOR)


def figures(prefix: str, scores: np.ndarray, probability: np.ndarray, truth: np.ndarray, best: np.ndarray) -> dict:
    """Ranking against the Bayes bound, scale, and skill as given and with the mean put to the prior."""
    from skytrace.learning.metrics import roc_auc
    from skytrace.learning.rare_events import interpolated_recall

    mean = mean_over_prior(probability, truth)
    row = {
        "auroc_below_bayes": roc_auc(best, truth) - roc_auc(scores, truth),
        "mean_over_prior": mean,
        "log_loss_skill": log_loss_skill(probability, truth),
        "log_loss_skill_rescaled": log_loss_skill(probability / mean, truth),
        "largest_probability": float(probability.max()),
    }
    for label, rate in (("1e2", 1e-2), ("1e3", 1e-3)):
        share = interpolated_recall(scores, truth, rate=rate) / interpolated_recall(best, truth, rate=rate)
        row[f"recall_{label}_of_bayes"] = share
    return {f"{prefix}_{key}": value for key, value in row.items()}


def classifiers(folds: int) -> dict[str, Any]:
    """Ours and our baselines, with the same trees."""
    from skytrace.learning import positive_unlabeled as pu

    return {
        "elkan_noto": pu.ElkanNotoClassifier(PRIOR, folds=folds),
        "weighted": pu.ElkanNotoClassifier(PRIOR, form="weighted", folds=folds),
        "non_negative": pu.NonNegativePUClassifier(PRIOR, folds=folds),
        "unbiased": pu.UnbiasedPUClassifier(PRIOR, folds=folds),
        "plain": pu.PositiveVersusUnlabelledClassifier(folds=folds),
    }


def of_peer(features: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> dict[str, np.ndarray] | str:
    """What ``_pulearn_peer`` wrote, or why there is nothing."""
    import dataclasses

    from skytrace.learning.pu_trees import TreeOptions

    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        return "unavailable: no uv to make its environment with"
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        trees = np.array(dataclasses.astuple(TreeOptions()), dtype=np.float64)
        np.savez(given, features=features, labels=labels, held_out=held_out, prior=PRIOR, trees=trees)
        packages = [part for name in PEER_PACKAGES for part in ("--with", name)]
        script = Path(__file__).with_name("_pulearn_peer.py")
        command = [uv, "run", "--quiet", "--isolated", "--no-project", "--python", sys.executable, *packages]
        try:
            subprocess.run(
                [*command, "python", "-W", "ignore", str(script), str(given), str(found)],
                check=True, capture_output=True, text=True, timeout=PEER_SECONDS,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            return f"unavailable: {(error.stderr.strip().splitlines() or ['no message'])[-1][:200]}"
        except subprocess.TimeoutExpired:
            return f"unavailable: its environment was not there within {PEER_SECONDS} s"
        with np.load(found) as arrays:
            return dict(arrays)


def main() -> None:
    given = arguments(__doc__)
    device = one_thread()
    from scipy.special import expit

    from skytrace.learning.gaussian_problem import GaussianProblem

    size, problem, rng = QUICK if given.quick else FULL, GaussianProblem(), np.random.default_rng(20260101)
    field, _ = problem.unlabelled(size["n_unlabelled"], prior=PRIOR, rng=rng)
    features = np.r_[problem.positives(N_POSITIVES, rng=rng), field]
    labels = np.r_[np.ones(N_POSITIVES, np.int64), np.zeros(len(field), np.int64)]
    n_lens, n_other = size["held_out"]
    held_out = np.r_[problem.positives(n_lens, rng=rng), problem.negatives(n_other, rng=rng)]
    truth = np.r_[np.ones(n_lens, np.int64), np.zeros(n_other, np.int64)]
    best = problem.logits(held_out, prior=PRIOR)
    likely = expit(best) > 0.5 * PRIOR  # where a probability is worth comparing with the exact one

    def errors(probability: np.ndarray) -> np.ndarray:
        return np.abs(np.log(np.maximum(probability[likely], 1e-12) / expit(best[likely])))

    row: dict[str, Any] = {"bayes_log_loss_skill": log_loss_skill(expit(best), truth)}
    ours_errors = np.zeros(1)
    for name, classifier in classifiers(size["folds"]).items():
        start = time.process_time()
        logits = classifier.fit(features, labels).decision_function(held_out)
        row[f"{name}_seconds"] = time.process_time() - start
        probability = classifier.predict_proba(held_out)[:, 1]
        row |= figures(name, logits, probability, truth, best)
        ours_errors = errors(probability) if name == "elkan_noto" else ours_errors
        note(f"{name}: fitted and scored")
    peer = of_peer(features, labels, held_out)
    if isinstance(peer, str):
        row |= {"peer": None, "peer_name": f"pulearn, {peer}", "ratio": None}
    else:
        for name in NAMES:
            probability = peer[f"{name}_probability"]
            row |= figures(f"pulearn_{name}", probability, probability, truth, best)
            row[f"pulearn_{name}_seconds"] = float(peer[f"{name}_seconds"])
        row |= error_figures(errors(peer["elkan_noto_probability"]), "peer_error")
        row |= {"peer": row["pulearn_elkan_noto_recall_1e2_of_bayes"], "peer_name": "pulearn, same trees"}
        row["ratio"] = row["elkan_noto_recall_1e2_of_bayes"] / row["peer"]
    note("pulearn: done")
    found = print_line(
        name="positives and unlabelled rows (Elkan-Noto)", unit="recall at FPR 0.01, of Bayes'",
        ours=row["elkan_noto_recall_1e2_of_bayes"], threads=1, device=device, prior=PRIOR, positives=N_POSITIVES,
        unlabelled=len(field), seconds=row["elkan_noto_seconds"], error_of="ln of the probability (exact: 0)",
        **error_figures(ours_errors), **row,
    )  # fmt: skip
    broken = broken_bounds(found, BOUNDS) if given.check else []
    if broken:
        sys.exit("; ".join(broken))


if __name__ == "__main__":
    main()
