"""Fields without a lens beyond a mock survey: the same population, no cluster of the survey, none of a real sky."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import OptionError
from skytrace.surveys.clusters.lens_free import lens_free_fields
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.options import MockClusterOptions
from skytrace.surveys.clusters.population import simulate_clusters
from skytrace.surveys.clusters.rendering import render_cluster


def test_a_field_is_the_same_whether_or_not_other_fields_of_the_survey_are_lenses():
    """So those without a lens are what the survey's other fields are: catalogue and pixels."""
    mixed = MockClusterOptions(lens_fraction=0.5, pixels=48)
    none = MockClusterOptions(lens_fraction=0.0, pixels=48)
    with_lenses, without = (simulate_clusters(np.arange(40), options=options) for options in (mixed, none))
    other = ~with_lenses["is_lens"].to_numpy()
    assert 5 < other.sum() < 35 and not without["is_lens"].any()
    pd.testing.assert_frame_equal(with_lenses[other], without[other])
    first = int(np.flatnonzero(other)[0])
    pixels = [
        render_cluster(table.iloc[first].to_dict(), options=o) for table, o in ((with_lenses, mixed), (without, none))
    ]
    np.testing.assert_array_equal(*pixels)


def test_no_field_without_a_lens_is_a_cluster_of_the_survey():
    survey = MockClusters(MockClusterOptions(n_clusters=50))
    more = lens_free_fields(survey, 30)
    assert len(more.clusters()) == 30 and not more.truth()["is_lens"].any()
    assert not set(more.clusters()["cluster_id"]) & set(survey.clusters()["cluster_id"])
    assert more.name != survey.name  # in the name of its shards


def test_a_real_sky_shows_none_and_a_number_of_fields_is_checked():
    class Sky:
        name = "sky"

    assert lens_free_fields(Sky(), 10) is None
    assert lens_free_fields(MockClusters(), 0) is None
    with pytest.raises(OptionError, match=r"fields = -1 is outside its allowed range \[0, "):
        lens_free_fields(MockClusters(), -1)
