import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning.positive_unlabeled import (
    ElkanNotoClassifier,
    NonNegativePUClassifier,
    PositiveVersusUnlabelledClassifier,
    UnbiasedPUClassifier,
)
from skytrace.learning.pu_trees import TreeOptions

#: Small, for hundreds of fits of a hundred rows. The checks' samples are labelled in full, and some have more of the
#: larger label than of the smaller: as positives and unlabelled rows they are allowed by min_unlabelled_ratio alone.
SMALL = {"trees": TreeOptions(n_trees=8, learning_rate=0.5, shrinkage=1.0), "folds": 2, "min_unlabelled_ratio": 0.0}
WITH_PRIOR = [ElkanNotoClassifier, NonNegativePUClassifier, UnbiasedPUClassifier]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        ElkanNotoClassifier(0.2, **SMALL),
        ElkanNotoClassifier(0.2, form="weighted", **SMALL),
        NonNegativePUClassifier(0.2, **SMALL),
        UnbiasedPUClassifier(0.2, **SMALL),
        PositiveVersusUnlabelledClassifier(**SMALL),
    ],
    ids=lambda estimator: f"{type(estimator).__name__}-{getattr(estimator, 'form', '')}",
)
def test_scikit_learn_finds_its_contract_kept(estimator):
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = [(result["check_name"], result["exception"]) for result in results if result["status"] == "failed"]
    assert not failed
    assert sum(result["status"] == "passed" for result in results) >= 50


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 3)), np.r_[np.ones(12, int), np.zeros(48, int)]


@pytest.mark.parametrize("kind", WITH_PRIOR)
@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, np.nan])
def test_an_impossible_prior_is_named(kind, prior, sample):
    with pytest.raises(OptionError, match=r"prior = .* is outside its allowed range \(0, 1\)"):
        kind(prior).fit(*sample)


@pytest.mark.parametrize("kind", [*WITH_PRIOR, PositiveVersusUnlabelledClassifier])
def test_a_sample_without_enough_of_either_kind_is_named(kind, sample):
    features, labels = sample
    with pytest.raises(OptionError, match=r"y holds one class, .*0.*, in all 60 rows: known positives"):
        kind().fit(features, np.zeros(60, int))
    with pytest.raises(OptionError, match=r"n_positives = 1 is outside its allowed range \[2, inf\]"):
        kind().fit(features, (np.arange(60) == 5).astype(int))
    with pytest.raises(OptionError, match=r"n_unlabelled = 12 is outside its allowed range \[48, inf\]"):
        kind().fit(features, 1 - labels)


@pytest.mark.parametrize("kind", [*WITH_PRIOR, PositiveVersusUnlabelledClassifier])
def test_rows_with_nan_are_counted_and_the_first_is_named(kind, sample):
    features, labels = sample
    features[[7, 9], 1] = np.nan, np.inf
    with pytest.raises(CatalogueError, match="NaN or inf in 2 of 60 rows, the first in row 7"):
        kind().fit(features, labels)


def test_an_unknown_form_and_positives_of_one_sky_cell_are_named(sample):
    with pytest.raises(OptionError, match="form = 'odds' is not one of case_control, weighted"):
        ElkanNotoClassifier(form="odds").fit(*sample)
    with pytest.raises(OptionError, match="one group"):
        ElkanNotoClassifier().fit(*sample, groups=np.where(sample[1] == 1, 0, np.arange(60)))


@pytest.mark.parametrize(("n_jobs", "threads"), [(None, 1), (2, 2)])
def test_trees_score_on_as_many_threads_as_they_were_given_and_on_one_else(n_jobs, threads, sample, monkeypatch):
    """On all of a machine's threads the hundreds of small scores of these checks took four times as long."""
    import lightgbm

    model = PositiveVersusUnlabelledClassifier(**SMALL, n_jobs=n_jobs).fit(*sample)
    asked, predict = [], lightgbm.Booster.predict
    monkeypatch.setattr(
        lightgbm.Booster, "predict", lambda self, *a, **k: asked.append(k["num_threads"]) or predict(self, *a, **k)
    )
    model.decision_function(sample[0])
    assert asked == [threads] * len(model.models_)
