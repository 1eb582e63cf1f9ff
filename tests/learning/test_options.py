"""Options that count or seed are whole and in range when the parameters are read, not after an hour of training."""

import pytest

from skytrace.audit.detectability import DetectabilityOptions
from skytrace.audit.options import GateOptions, ShortcutOptions
from skytrace.audit.parity import ParityOptions
from skytrace.errors import OptionError
from skytrace.learning.evaluation import EvaluationOptions
from skytrace.learning.options import (
    CalibrationOptions,
    EnsembleOptions,
    MemberOptions,
    StrataEvaluationOptions,
    StratumOptions,
    TopOptions,
    TrainingOptions,
)
from skytrace.selection.hosts import HostOptions
from skytrace.selection.realism.options import ComparisonSettings
from skytrace.selection.stability import StabilityOptions
from skytrace.sky.split import SplitOptions

PAIR = (MemberOptions("one"), MemberOptions("two"))


@pytest.mark.parametrize(
    ("maker", "options", "message"),
    [
        (TrainingOptions, {"epochs": 2.5}, "epochs = 2.5 is not a whole number"),
        (CalibrationOptions, {"folds": 2.5}, "folds = 2.5 is not a whole number"),
        (CalibrationOptions, {"n_resamples": 150.5}, "n_resamples = 150.5 is not a whole number"),
        (CalibrationOptions, {"seed": -1}, r"seed = -1 is outside its allowed range \[0, "),
        (EnsembleOptions, {"members": PAIR, "folds": 2.5}, "folds = 2.5 is not a whole number"),
        (EnsembleOptions, {"members": PAIR, "seed": -1}, r"seed = -1 is outside its allowed range \[0, "),
        (StratumOptions, {"column": "psfsize_r", "quantiles": 2.5}, "quantiles of psfsize_r = 2.5 is not a whole"),
        (StrataEvaluationOptions, {"min_per_class": 2.5}, "min_per_class = 2.5 is not a whole number"),
        (StrataEvaluationOptions, {"seed": 0.5}, "seed = 0.5 is not a whole number"),
        (TopOptions, {"top": (1.5,)}, "top = 1.5 is not a whole number"),
        (TopOptions, {"top": ("many",)}, "top = 'many' is not a number"),
        (TopOptions, {"seed": -1}, r"seed = -1 is outside its allowed range \[0, "),
        (ShortcutOptions, {"fewest": 2.5}, "fewest = 2.5 is not a whole number"),
        (ShortcutOptions, {"seed": 0.5}, "seed = 0.5 is not a whole number"),
        (GateOptions, {"n_resamples": 100.5}, "n_resamples = 100.5 is not a whole number"),
        (EvaluationOptions, {"n_resamples": 150.5}, "n_resamples = 150.5 is not a whole number"),
        (EvaluationOptions, {"seed": -1}, r"seed = -1 is outside its allowed range \[0, "),
        (DetectabilityOptions, {"n_resamples": 150.5}, "n_resamples = 150.5 is not a whole number"),
        (DetectabilityOptions, {"seed": 0.5}, "seed = 0.5 is not a whole number"),
        (ParityOptions, {"n_resamples": "many"}, "n_resamples = 'many' is not a number"),
        (ParityOptions, {"seed": -1}, r"seed = -1 is outside its allowed range \[0, "),
        (SplitOptions, {"seed": 1.5}, "seed = 1.5 is not a whole number"),
        (HostOptions, {"max_hosts_per_cell": 1.5}, "max_hosts_per_cell = 1.5 is not a whole number"),
        (StabilityOptions, {"n_bootstrap": 99.5}, "n_bootstrap = 99.5 is not a whole number"),
        (ComparisonSettings, {"n_stamps": 0}, r"n_stamps = 0 is outside its allowed range \[1, "),
        (ComparisonSettings, {"psf_beta": 0.5}, r"psf_beta = 0.5 is outside its allowed range \(1, 10\]"),
    ],
)
def test_a_count_or_seed_that_cannot_be_used_is_refused_by_name(maker, options, message):
    with pytest.raises(OptionError, match=message):
        maker(**options)


def test_whole_numbers_written_with_an_exponent_are_accepted():
    assert TopOptions(top=(1e3,)).top == (1000,)
