import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from skytrace.errors import OptionError
from skytrace.learning.gaussian_problem import GaussianProblem
from skytrace.learning.positive_unlabeled import (
    ElkanNotoClassifier,
    NonNegativePUClassifier,
    PositiveVersusUnlabelledClassifier,
    UnbiasedPUClassifier,
)
from skytrace.learning.pu_store import classifier_from_record, classifier_record
from skytrace.learning.pu_trees import TreeOptions

TREES = {"trees": TreeOptions(n_trees=15), "folds": 2}


@pytest.fixture(scope="module")
def sample():
    problem, rng = GaussianProblem(), np.random.default_rng(0)
    features = np.r_[problem.positives(100, rng=rng), problem.unlabelled(900, prior=0.01, rng=rng)[0]]
    return features, np.r_[np.ones(100, int), np.zeros(900, int)]


@pytest.mark.parametrize(
    "classifier",
    [
        ElkanNotoClassifier(0.01, **TREES),
        ElkanNotoClassifier(0.01, form="weighted", **TREES),
        NonNegativePUClassifier(0.01, **TREES),
        UnbiasedPUClassifier(0.01, **TREES),
        PositiveVersusUnlabelledClassifier(**TREES),
    ],
    ids=lambda classifier: f"{type(classifier).__name__}-{getattr(classifier, 'form', '')}",
)
def test_a_classifier_read_back_from_json_predicts_the_same(classifier, sample):
    features, labels = sample
    classifier.fit(pd.DataFrame(features, columns=list("abcdef")), labels)
    again = classifier_from_record(json.loads(json.dumps(classifier_record(classifier))))
    table = pd.DataFrame(features, columns=list("abcdef"))
    np.testing.assert_array_equal(again.decision_function(table), classifier.decision_function(table))
    np.testing.assert_array_equal(again.predict_proba(table), classifier.predict_proba(table))
    np.testing.assert_array_equal(again.predict(table), classifier.predict(table))
    assert again.get_params() == classifier.get_params()
    with pytest.raises(ValueError, match="feature names"):
        again.decision_function(table[list("bacdef")])


def test_an_estimator_of_ones_own_and_an_unknown_kind_are_named(sample):
    classifier = ElkanNotoClassifier(0.01, estimator=LogisticRegression(), folds=2).fit(*sample)
    with pytest.raises(OptionError, match=r"LogisticRegression.* has no text form"):
        classifier_record(classifier)
    with pytest.raises(OptionError, match=r"kind = 'os\.system' is not one of ElkanNotoClassifier"):
        classifier_from_record({"kind": "os.system"})
