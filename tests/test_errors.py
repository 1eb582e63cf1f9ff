"""Errors name the value, and the name that was probably meant."""

import numpy as np
import pytest

from skytrace.datasets import DecamFieldsDataset, LegacySurveyDataset, MockSurveyDataset
from skytrace.errors import OptionError, check_between, check_names, check_whole, unknown_name
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


def test_the_ends_of_a_range_are_written_so_that_they_can_be_typed():
    with pytest.raises(OptionError, match=r"seed = -1 is outside its allowed range \[0, 9223372036854775807\]"):
        check_whole("seed", -1, 0, 2**63 - 1)
    with pytest.raises(OptionError, match=r"n = 1 is outside its allowed range \[100, 1000000\]"):
        check_whole("n", 1, 100, 1_000_000)
    with pytest.raises(OptionError, match=r"share = 2 is outside its allowed range \(0, 0\.5\]"):
        check_between("share", 2, 0.0, 0.5, include_low=False)


@pytest.mark.parametrize("value", [2.5, np.float64(0.1), "3", None, float("nan"), float("inf")])
def test_what_is_no_whole_number_is_refused_by_name(value):
    with pytest.raises(OptionError, match=r"folds = .* (is not a|is outside)"):
        check_whole("folds", value, 0, 10)
    check_whole("folds", 3.0, 0, 10)
    check_whole("folds", np.int64(3), 3, 3)


def test_of_many_names_an_error_shows_those_that_are_like_it():
    known = [f"lens_finder.{kind}_{number}" for kind in ("scores", "stamps") for number in range(100)]
    told = unknown_name("no such dataset", "lens_finder.score_7", known)
    assert told.startswith("no such dataset; did you mean lens_finder.scores_7? of 200 names these are most like it: ")
    shown = told.partition("like it: ")[2].split(", ")
    assert len(shown) == 8 and shown[0] == "lens_finder.scores_7" and set(shown) <= set(known)
    assert "did you mean" not in unknown_name("no such dataset", "qqqq", known)
