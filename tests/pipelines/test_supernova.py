"""supernova as a pipeline: raw light curves to posteriors, each node called plainly, and the glue's promises."""

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions
from skytrace.errors import CatalogueError, OptionError
from skytrace.pipelines.supernova import light_curves as stage_zero
from skytrace.pipelines.supernova import shards as fit_shards
from skytrace.pipelines.supernova import stage_one
from skytrace.pipelines.supernova.options import InferenceOptions
from skytrace.pipelines.supernova.pipeline import create_pipeline
from skytrace.pipelines.supernova.shards import FitShardOptions
from skytrace.supernovae.fit_options import FitOptions
from skytrace.supernovae.hubble import HubbleOptions, hubble_from_fits
from skytrace.supernovae.light_curves import LightCurveOptions
from skytrace.supernovae.outlier_options import OutlierOptions
from skytrace.supernovae.quality import QualityCutOptions
from skytrace.surveys.supernovae.mock import MockSupernovae
from skytrace.surveys.supernovae.options import MockSupernovaOptions

INLINE = ClusterOptions(workers=1)


@pytest.fixture(scope="module")
def survey() -> MockSupernovae:
    return MockSupernovae(MockSupernovaOptions(n_supernovae=60))


@pytest.fixture(scope="module")
def validated(survey):
    return stage_zero.validate(survey, LightCurveOptions())


def fake_fits(light_curves: pd.DataFrame, *, options: FitOptions) -> pd.DataFrame:
    """A result that only these light curves give: what the glue does with it is asked here, not the fit."""
    table = light_curves.groupby("snid").agg(alpha=("flux_jy", "sum"), n_obs=("mjd", "size")).reset_index()
    return table.assign(beta=options.beta_prior_mean)


#: Nodes at or after one that reads the truth: none of them fits, infers or compares a law.
REPORTS_ON_TRUTH = {
    "check_truth", "find_outliers", "inject_outliers", "join_supernovae", "measure_scatter", "recompute", "write_page",
}  # fmt: skip


def test_what_infers_never_sees_the_truth():
    pipeline = create_pipeline()
    readers = {node.name for node in pipeline.nodes if "supernova.truth" in node.inputs}
    # the gate is judged by it, and that judgement made again and shown: reports, on which no inference rests
    assert readers == {
        "supernova.check_truth",
        "supernova.find_outliers",
        "supernova.recompute",
        "supernova.write_page",
    }
    after = {node.name.removeprefix("supernova.") for node in pipeline.from_nodes(*readers).nodes}
    assert after <= REPORTS_ON_TRUTH, after - REPORTS_ON_TRUTH
    makers = {node.name for node in pipeline.nodes if "supernova_survey" in node.inputs}
    assert makers == {
        "supernova.validate", "supernova.read_published", "supernova.read_truth", "supernova.simulate_distances",
    }  # fmt: skip


def test_stage_zero_accounts_for_every_row_and_supernova(survey, validated):
    clean, objects, rejections, report = validated
    assert report["rows_in"] == len(survey.light_curves()) == len(clean) + len(rejections)
    assert report["survey"] == "mock_supernovae" and "no cosmology" in report["note"]
    assert [one["plausible"] for one in report["zero_points"]] == [True]
    kept, quality, ledger = stage_zero.cut(clean, objects, True, QualityCutOptions())
    assert ledger["supernovae_in"].iloc[0] == len(quality) == report["supernovae"]
    assert ledger["supernovae_out"].iloc[-1] == kept["snid"].nunique() == (quality["removed_by"] == "").sum()
    removed = quality.loc[quality["removed_by"] != "", "removed_by"].value_counts().to_dict()
    assert removed == ledger.loc[ledger["supernovae_removed"] > 0].set_index("cut")["supernovae_removed"].to_dict()


def test_the_milky_ways_dust_is_taken_off_flux_and_error_alike(validated):
    clean, objects, _, _ = validated
    dusty = objects.assign(mwebv=0.1)
    off = stage_zero.cut(clean, dusty, False, QualityCutOptions())[0]
    on = stage_zero.cut(clean, dusty, True, QualityCutOptions())[0]
    both = off.merge(on, on=["snid", "mjd", "band"], suffixes=("_off", "_on"))
    gain = both["flux_jy_on"] / both["flux_jy_off"]
    np.testing.assert_allclose(gain, both["flux_err_jy_on"] / both["flux_err_jy_off"])
    assert gain.groupby(both["band"]).median()[["g", "r", "i", "z"]].is_monotonic_decreasing
    assert gain.min() > 1.05


@pytest.mark.parametrize(
    ("inference", "hubble", "message"),
    [
        ({"table": "simulatd"}, {}, r"inference\.table = 'simulatd' is not one of fits, simulated"),
        (
            {},
            {"prob_ia_from": ("simulated", "two")},
            r"hubble\.prob_ia_from names 'two', which is not one of simulated",
        ),
    ],
)
def test_a_release_that_the_survey_does_not_have_is_told_where_tables_are_first_read(
    survey, inference, hubble, message
):
    with pytest.raises(OptionError, match=message):
        stage_zero.read_published(survey, InferenceOptions(**inference), HubbleOptions(**hubble))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (HubbleOptions, {"prob_ia_from": "simulated"}),
        (HubbleOptions, {"prob_ia_from": (3,)}),
        (HubbleOptions, {"prob_ia_from": ("one", "one")}),
        (FitShardOptions, {"folder": 5}),
        (FitShardOptions, {"folder": " "}),
        (OutlierOptions, {"mixtures": 3}),
        (OutlierOptions, {"mixtures": {"brightness": "ln_k_j_star"}}),
    ],
)
def test_values_of_another_kind_are_refused_by_name(kind, wrong):
    (key,) = wrong
    with pytest.raises(OptionError, match=rf"^{key}\S* = "):
        kind(**wrong)


def test_published_tables_are_one_with_the_releases_names(survey):
    published = stage_zero.read_published(
        survey, InferenceOptions(table="simulated"), HubbleOptions(prob_ia_from=("simulated",))
    )
    assert published["release"].unique().tolist() == ["simulated"]
    assert len(published) == 60
    assert len(stage_zero.read_truth(survey)) == 60


@pytest.fixture
def fitted_by(monkeypatch):
    from skytrace.supernovae import light_curve_fit

    calls = []

    def fit(table, *, options):
        calls.append(sorted(table["snid"].unique()))
        return fake_fits(table, options=options)

    monkeypatch.setattr(light_curve_fit, "fit_light_curves", fit)
    return calls


def test_shards_give_what_one_call_gives_and_are_not_computed_twice(tmp_path, validated, fitted_by):
    clean = validated[0]
    options = FitShardOptions(str(tmp_path), supernovae=25)
    whole = fake_fits(clean, options=FitOptions())
    table = stage_one.fit(clean, FitOptions(), options, INLINE)
    pd.testing.assert_frame_equal(table, whole)
    assert [len(names) for names in fitted_by] == [25, 25, 10]
    assert sorted(name for names in fitted_by for name in names) == sorted(whole["snid"])
    pd.testing.assert_frame_equal(stage_one.fit(clean, FitOptions(), options, INLINE), whole)
    assert len(fitted_by) == 3


def test_a_lost_or_damaged_shard_alone_is_computed_again(tmp_path, validated, fitted_by):
    clean = validated[0]
    options = FitShardOptions(str(tmp_path), supernovae=20)
    whole = stage_one.fit(clean, FitOptions(), options, INLINE)
    files = sorted(tmp_path.glob("*/fits-*.parquet"))
    files[0].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-100])
    fitted_by.clear()
    pd.testing.assert_frame_equal(stage_one.fit(clean, FitOptions(), options, INLINE), whole)
    assert len(fitted_by) == 2


def test_other_options_or_other_light_curves_have_shards_of_their_own(tmp_path, validated, fitted_by):
    clean = validated[0]
    options = FitShardOptions(str(tmp_path), supernovae=60)
    stage_one.fit(clean, FitOptions(), options, INLINE)
    assert stage_one.fit(clean, FitOptions(beta_prior_mean=2.0), options, INLINE)["beta"].eq(2.0).all()
    brighter = stage_one.fit(clean.assign(flux_jy=clean["flux_jy"] * 2), FitOptions(), options, INLINE)
    np.testing.assert_allclose(brighter["alpha"], 2 * fake_fits(clean, options=FitOptions())["alpha"])
    assert len(fitted_by) == 3


def test_the_size_of_a_shard_changes_no_bit_of_a_fit(tmp_path, validated):
    clean = validated[0]
    clean = clean[clean["snid"].isin(clean["snid"].unique()[:6])]
    inline = fit_shards.fit_in_shards(
        clean, options=FitOptions(), shards=FitShardOptions(str(tmp_path / "a"), 3), cluster=INLINE
    )
    one = fit_shards.fit_in_shards(
        clean, options=FitOptions(), shards=FitShardOptions(str(tmp_path / "b"), 6), cluster=INLINE
    )
    pd.testing.assert_frame_equal(inline, one)


def test_a_worker_reads_the_light_curves_of_its_own_supernovae_alone(tmp_path, validated, monkeypatch):
    clean = validated[0].sample(frac=1.0, random_state=0).reset_index(drop=True)  # supernovae in no order
    names = sorted(clean["snid"].unique())
    seen = []

    def noted(table, *, options):
        seen.append(table)
        return fake_fits(table, options=options)

    monkeypatch.setattr("skytrace.supernovae.light_curve_fit.fit_light_curves", noted)
    fit_shards.fit_in_shards(clean, options=FitOptions(), shards=FitShardOptions(str(tmp_path), 7), cluster=INLINE)
    groups = [names[start : start + 7] for start in range(0, len(names), 7)]
    assert [sorted(table["snid"].unique()) for table in sorted(seen, key=lambda one: min(one["snid"]))] == groups
    for table in seen:  # every row, in the order of the whole table
        mine = clean[clean["snid"].isin(table["snid"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(table, mine)


FITS = pd.DataFrame(
    {
        "snid": list("abcdef"), "survey": "T", "z_hel": 0.4, "alpha": -38.0, "alpha_err": 0.1, "alpha_mean": -38.1,
        "alpha_mean_err": [0.1, 0.1, 0.1, 1.5, np.nan, 0.1],
        "flags": ["", "at_bound_a_plasma", "no_signal;one_band", "", "", ""],
    }
)  # fmt: skip
OBJECTS = pd.DataFrame({"snid": list("abcde"), "z_hd": 0.39})
PUBLISHED = pd.DataFrame({"snid": ["a", "a", "b"], "release": ["one", "two", "two"], "prob_ia": [np.nan, 0.7, 0.2]})


def test_the_hubble_table_leaves_out_what_it_names():
    table, left_out = hubble_from_fits(FITS, OBJECTS, PUBLISHED)
    assert table["snid"].tolist() == ["a", "b"]
    assert left_out.set_index("snid")["reason"].to_dict() == {
        "c": "no_signal", "d": "alpha_err_too_large", "e": "no_alpha", "f": "no_redshift",
    }  # fmt: skip
    assert table["prob_ia"].tolist() == [0.7, 0.2]
    np.testing.assert_allclose(table["mu_mag"], 38.1 * 2.5 / np.log(10))
    np.testing.assert_allclose(table["mu_err_mag"], 0.1 * 2.5 / np.log(10))
    assert table["z_hd"].tolist() == [0.39, 0.39]


def test_the_mode_and_one_release_are_taken_on_request():
    table, _ = hubble_from_fits(FITS, OBJECTS, PUBLISHED, options=HubbleOptions(alpha="mode", prob_ia_from=("one",)))
    assert table["alpha"].unique().tolist() == [-38.0]
    assert table["snid"].tolist() == ["a", "b", "d", "e"]
    assert table["prob_ia"].isna().all()
    with pytest.raises(CatalogueError, match="no release three among"):
        hubble_from_fits(FITS, OBJECTS, PUBLISHED, options=HubbleOptions(prob_ia_from=("three",)))


def test_no_fit_left_is_an_error_with_the_counts():
    with pytest.raises(CatalogueError, match=r"none of 6 fits .* no_alpha 5"):
        hubble_from_fits(FITS.assign(alpha_mean=np.nan), OBJECTS)
