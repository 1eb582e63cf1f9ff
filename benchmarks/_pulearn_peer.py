"""pulearn's two Elkan-Noto classifiers and its nnPU, run by benchmarks/cluster_pu.py in an environment of their own.

Imports nothing of ours: pulearn does not import beside the scikit-learn that we use. Reads features, labels, held_out,
prior and tree options out of one NPZ and writes probabilities and seconds of each to another.
"""

import sys
import time

import numpy as np


def trees(options):
    """The boosted trees that ours take, by LightGBM's scikit-learn interface."""
    from lightgbm import LGBMClassifier

    n_trees, rate, leaves, rows, shrinkage, row_share, feature_share = options
    return LGBMClassifier(
        n_estimators=int(n_trees), learning_rate=rate, num_leaves=int(leaves), min_child_samples=int(rows),
        reg_lambda=shrinkage, subsample=row_share, subsample_freq=1, colsample_bytree=feature_share, n_jobs=1,
        random_state=0, verbosity=-1,
    )  # fmt: skip


def main(source, target):
    import pulearn

    with np.load(source) as given:
        features, labels, held_out = given["features"], given["labels"], given["held_out"]
        prior, options = float(given["prior"]), given["trees"]
    n_positives = int(labels.sum())
    classifiers = {
        "elkan_noto": pulearn.ElkanotoPuClassifier(trees(options), hold_out_ratio=0.2, random_state=0),
        "weighted": pulearn.WeightedElkanotoPuClassifier(
            trees(options), labeled=n_positives, unlabeled=len(labels) - n_positives, hold_out_ratio=0.2, random_state=0
        ),
        "non_negative": pulearn.NNPUClassifier(prior=prior, random_state=0),
    }
    found = {}
    for name, classifier in classifiers.items():
        start = time.process_time()
        classifier.fit(features, labels)
        found[f"{name}_probability"] = classifier.predict_proba(held_out)[:, 1]
        found[f"{name}_seconds"] = time.process_time() - start
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
