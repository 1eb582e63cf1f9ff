"""A fitted classifier of ``positive_unlabeled`` as numbers and text that JSON holds, and back: nothing is unpickled."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import OptionError, check_choice

if TYPE_CHECKING:
    from skytrace.learning.positive_unlabeled import (
        ElkanNotoClassifier,
        NonNegativePUClassifier,
        PositiveVersusUnlabelledClassifier,
        UnbiasedPUClassifier,
    )

    Classifier = (
        ElkanNotoClassifier | NonNegativePUClassifier | UnbiasedPUClassifier | PositiveVersusUnlabelledClassifier
    )

__all__ = ["classifier_from_record", "classifier_record"]

_NUMBERS = ("n_features_in_", "n_positives_", "n_unlabelled_", "label_frequency_")


def classifier_record(classifier: Classifier) -> dict[str, Any]:
    """JSON-ready: kind, parameters, classes, scale, and the text of every fold's trees.

    What was known of the rows it was fitted on (folds, out-of-fold logits) is not in it: keep these in a table. Raises
    OptionError for a classifier around an estimator of the user's own, scikit-learn's NotFittedError before a fit.
    """
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(classifier)
    parameters = classifier.get_params(deep=False)
    if parameters.get("estimator") is not None:
        raise OptionError(f"estimator = {parameters['estimator']!r} has no text form; only our own trees can be stored")
    if parameters["trees"] is not None:
        parameters["trees"] = asdict(parameters["trees"])
    names = getattr(classifier, "feature_names_in_", None)
    return {
        "kind": type(classifier).__name__,
        "parameters": parameters,
        "classes": classifier.classes_.tolist(),
        "feature_names": None if names is None else [str(name) for name in names],
        "scale": list(classifier.scale_),
        **{name.rstrip("_"): getattr(classifier, name) for name in _NUMBERS},
        "trees": [
            {"start": model.start, "text": None if model.booster is None else model.booster.model_to_string()}
            for model in classifier.models_
        ],
    }


def classifier_from_record(record: dict[str, Any]) -> Classifier:
    """The classifier that ``classifier_record`` described: it predicts the same to the last bit."""
    import lightgbm

    from skytrace.learning import positive_unlabeled
    from skytrace.learning.pu_trees import TreeOptions, Trees

    check_choice("kind", record["kind"], tuple(name for name in positive_unlabeled.__all__ if name.endswith("fier")))
    parameters = dict(record["parameters"])
    if parameters["trees"] is not None:
        parameters["trees"] = TreeOptions(**parameters["trees"])
    classifier = getattr(positive_unlabeled, record["kind"])(**parameters)
    for name in _NUMBERS:
        setattr(classifier, name, record[name.rstrip("_")])
    if record["feature_names"] is not None:
        classifier.feature_names_in_ = np.array(record["feature_names"], dtype=object)
    classifier.classes_ = np.array(record["classes"])
    classifier.scale_ = tuple(record["scale"])
    classifier.models_ = [
        Trees(None if one["text"] is None else lightgbm.Booster(model_str=one["text"]), one["start"])
        for one in record["trees"]
    ]
    return classifier
