import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, kstest

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning.options import SurveyScenario, TopOptions
from skytrace.learning.top_composition import _counts_at, _drawn_curves, category_shares, top_composition


def options(**changes):
    chosen = {"survey_galaxies": 1e6, "top": (1000,), "n_draws": 300,
              "scenarios": (SurveyScenario("a", 1e-3),)} | changes  # fmt: skip
    return TopOptions(**chosen)


def sample(n: int, *, seed: int = 0) -> pd.DataFrame:
    """Scores whose survival curves are known: lenses 1 - t^3, rings 1 - t^1, ordinary galaxies 1 - t^(1/3)."""
    rng = np.random.default_rng(seed)
    power = {"lens": 3.0, "ring_proxy": 1.0, "": 1 / 3}
    rows = [
        pd.DataFrame({"score": rng.random(n) ** (1 / p), "label": int(name == "lens"), "confuser_category": name})
        for name, p in power.items()
    ]
    return pd.concat(rows, ignore_index=True).replace({"confuser_category": {"lens": ""}})


def test_the_expected_composition_solves_for_the_threshold_of_the_top_k():
    """N_l (1 - t^3) + N_r (1 - t) + N_o (1 - t^(1/3)) = K with known N gives t, and with it every count."""
    from scipy.optimize import brentq

    result = top_composition(
        sample(20_000), shares={"ring_proxy": 0.1, "ordinary": 0.9}, options=options(top=(50_000,))
    )
    total = {"lens": 1e3, "ring_proxy": 0.1 * 0.999e6, "ordinary": 0.9 * 0.999e6}
    power = {"lens": 3.0, "ring_proxy": 1.0, "ordinary": 1 / 3}
    t = brentq(lambda t: sum(total[k] * (1 - t ** power[k]) for k in total) - 50_000, 0, 1)
    top = result["scenarios"][0]["top"][0]
    assert top["resolved"]
    assert top["threshold"] == pytest.approx(t, abs=0.005)
    for name, number in total.items():
        assert top["expected"][name]["value"] == pytest.approx(number * (1 - t ** power[name]), rel=0.08)
        assert top["expected"][name]["low_95"] < number * (1 - t ** power[name]) < top["expected"][name]["high_95"]
    assert sum(entry["value"] for entry in top["expected"].values()) == pytest.approx(50_000)
    assert top["lens_share"]["value"] == pytest.approx(top["expected"]["lens"]["value"] / 50_000)
    assert top["completeness"]["value"] == pytest.approx(top["expected"]["lens"]["value"] / 1e3)


def test_draws_of_a_survival_curve_have_the_jeffreys_posterior():
    """The mass above the 7th of 40 stamps is Beta(7 + 1/2, 33 + 1/2)."""
    rng = np.random.default_rng(1)
    code = np.arange(50) % 5 == 0  # 40 stamps of group 0 and 10 of group 1, mixed
    draws = [_drawn_curves(code.astype(int), 2, rng) for _ in range(2000)]
    seventh = np.flatnonzero(~code)[:7]
    shares = [above_all[0] + weight[seventh].sum() for weight, above_all in draws]
    assert kstest(shares, beta(7.5, 33.5).cdf).pvalue > 0.01
    third = np.flatnonzero(code)[:3]
    assert kstest([a[1] + w[third].sum() for w, a in draws], beta(3.5, 7.5).cdf).pvalue > 0.01


def test_the_counts_add_up_to_k_whatever_the_threshold():
    code = np.array([0, 1, 0, 1, 1])
    counts, last = _counts_at(
        code, np.full(5, 0.2), np.array([0.1, 0.1]), np.array([100.0, 1000.0]), (50, 115, 330, 500)
    )
    np.testing.assert_allclose(counts.sum(axis=1), [50, 115, 330, 500])
    # above all: 10 + 100; then 20 from a lens, 200 from a galaxy, 20, 200 ...
    np.testing.assert_allclose(counts[0], [50 / 11, 500 / 11])
    np.testing.assert_allclose(counts[1], [15, 100])
    np.testing.assert_allclose(counts[2], [30, 300])
    np.testing.assert_allclose(counts[3], [50, 450])
    assert last == [0, 1, 2, 4]


def test_rarer_lenses_make_a_less_pure_top():
    scenarios = tuple(SurveyScenario(f"{share:g}", share) for share in (1e-2, 1e-3, 1e-4))
    result = top_composition(
        sample(3000), shares={"ring_proxy": 0.1, "ordinary": 0.9}, options=options(top=(50_000,), scenarios=scenarios)
    )
    purity = [record["top"][0]["lens_share"]["value"] for record in result["scenarios"]]
    assert purity[0] > purity[1] > purity[2]
    assert [record["lens_share_assumed"] for record in result["scenarios"]] == [1e-2, 1e-3, 1e-4]


def test_a_top_beyond_the_test_sample_is_not_resolved_and_the_smallest_that_is_is_named():
    shares = {"ring_proxy": 0.1, "ordinary": 0.9}
    record = top_composition(sample(300), shares=shares, options=options(top=(100,)))["scenarios"][0]
    top = record["top"][0]
    assert not top["resolved"]
    assert "test galaxies lie above" in top["reason"]
    assert not {"lens_share", "completeness", "expected"} & set(top)
    smallest = record["smallest_resolved_top"]
    for number, resolved in ((0.99 * smallest, False), (1.01 * smallest, True)):
        again = top_composition(sample(300), shares=shares, options=options(top=(int(number),)))["scenarios"][0]
        assert again["top"][0]["resolved"] is resolved


def test_a_scenario_changes_a_category_and_the_ordinary_galaxies_make_up_the_rest():
    scenario = SurveyScenario("more rings", 1e-3, {"ring_proxy": 0.4})
    result = top_composition(
        sample(500), shares={"ring_proxy": 0.1, "ordinary": 0.9}, options=options(scenarios=(scenario,))
    )
    numbers = result["scenarios"][0]["numbers_assumed"]
    assert numbers == pytest.approx({"lens": 1e3, "ring_proxy": 0.4 * 0.999e6, "ordinary": 0.6 * 0.999e6})


def test_shares_are_those_of_the_galaxies():
    assert category_shares(["", "ring_proxy", "", "edge_on_proxy"]) == {
        "edge_on_proxy": 0.25, "ordinary": 0.5, "ring_proxy": 0.25,
    }  # fmt: skip


def test_what_was_not_measured_is_not_invented():
    nothing = sample(100).query("confuser_category != 'ring_proxy'")
    record = top_composition(nothing, shares={"ring_proxy": 0.1, "ordinary": 0.9}, options=options())["scenarios"][0]
    assert record["top"] == []
    assert "no galaxies of category ring_proxy" in record["reason"]
    with pytest.raises(OptionError, match="more than 1"):
        top_composition(sample(100), shares={"ring_proxy": 0.7, "merger_proxy": 0.7}, options=options())
    with pytest.raises(CatalogueError, match="both"):
        top_composition(sample(100).query("label == 0"), shares={"ring_proxy": 0.1}, options=options())
    with pytest.raises(OptionError, match="lens_share"):
        SurveyScenario("none", 0.0)


def test_categories_with_few_test_galaxies_are_counted_together_and_named():
    table = sample(1000)
    few = table[table["confuser_category"] == "ring_proxy"].index[:5]
    table.loc[few, "confuser_category"] = "merger_proxy"
    shares = {"ring_proxy": 0.10, "merger_proxy": 0.02, "blue_clumpy": 0.03, "ordinary": 0.85}
    record = top_composition(table, shares=shares, options=options(top=(50_000,)))["scenarios"][0]
    # blue_clumpy (none) and merger_proxy (5) are too few even together, so the next category joins them
    assert record["merged"] == {"other_confusers": ["blue_clumpy", "merger_proxy", "ring_proxy"]}
    assert record["numbers_assumed"]["blue_clumpy"] == pytest.approx(0.03 * 0.999e6)
    expected = top_composition(
        sample(1000), shares={"ring_proxy": 0.15, "ordinary": 0.85}, options=options(top=(50_000,))
    )
    alone = expected["scenarios"][0]["top"][0]["expected"]["ring_proxy"]["value"]
    assert record["top"][0]["expected"]["other_confusers"]["value"] == pytest.approx(alone)
