"""Errors name the value, and the name that was probably meant."""

import numpy as np
import pytest

from skytrace.datasets import DecamFieldsDataset, LegacySurveyDataset, MockSurveyDataset
from skytrace.errors import OptionError, check_between, check_names
from skytrace.parameters import build_options
from skytrace.surveys.decam_fields import DecamFieldsOptions, DecamFieldsSurvey
from skytrace.surveys.legacy_survey import LegacySurvey, LegacySurveyOptions
from skytrace.surveys.mock import MockSurveyOptions


def test_every_unknown_name_is_in_one_message_with_the_nearest_known_and_all_there_are():
    known = ["route", "workers"]
    check_names("legacy_survey", ["workers", "route"], known)
    with pytest.raises(OptionError) as caught:
        check_names("legacy_survey", ["wrokers", "route", "zzz"], known)
    assert str(caught.value) == (
        "legacy_survey has no option 'wrokers'; did you mean workers? there are route, workers; "
        "legacy_survey has no option 'zzz'; there are route, workers"
    )


@pytest.mark.parametrize(
    ("build", "wrong", "right"),
    [
        (MockSurveyOptions.from_mapping, {"n_galaxys": 6},
         "mock survey has no option 'n_galaxys'; did you mean n_galaxies? there are n_galaxies, seed"),
        (DecamFieldsOptions.from_mapping, {"evb": 0.1}, "decam_fields has no option 'evb'; did you mean ebv?"),
        (DecamFieldsOptions.from_mapping, {"detection": {"treshold": 4.0}},
         "decam_fields detection has no option 'treshold'; did you mean threshold?"),
        (LegacySurveyOptions.from_mapping, {"rate_per_sec": 2.0},
         "legacy_survey has no option 'rate_per_sec'; did you mean rate_per_s?"),
        (lambda values: DecamFieldsSurvey("f", values), {"evb": 0.1}, "did you mean ebv?"),
        (LegacySurvey, {"rout": "bricks"}, "did you mean route?"),
        (lambda values: build_options("p.o", values, LegacySurveyOptions), {"rout": "bricks"}, "did you mean route?"),
    ],
)  # fmt: skip
def test_a_misspelt_option_of_any_survey_is_answered_with_the_right_one(build, wrong, right):
    with pytest.raises(OptionError) as caught:
        build(wrong)
    assert right in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "right"),
    [
        (DecamFieldsDataset(folder="f", options={"minimum_valid_fractoin": 0.5}), "minimum_valid_fraction"),
        (LegacySurveyDataset(options={"mag_z_limt": 21.0}), "mag_z_limit"),
        (MockSurveyDataset(filepath="never_made", options={"sede": 1}), "seed"),
    ],
)
def test_a_misspelt_option_in_the_catalog_stays_our_error_behind_kedros(dataset, right):
    with pytest.raises(Exception, match=f"did you mean {right}") as caught:
        dataset.load()
    causes = [caught.value, caught.value.__cause__]
    assert any(isinstance(error, OptionError) for error in causes), "the command line would show a traceback"


def test_a_value_that_is_no_number_is_named_and_not_compared():
    with pytest.raises(OptionError, match="workers = 'four' is not a number"):
        LegacySurveyOptions(workers="four")  # type: ignore[arg-type]
    check_between("x", np.float32(0.5), 0.0, 1.0)
    with pytest.raises(OptionError, match="outside"):
        check_between("x", float("nan"), 0.0, 1.0)
