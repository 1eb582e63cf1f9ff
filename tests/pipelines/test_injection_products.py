"""What is made of the measured surface: known truth comes back, and what is absent is said to be."""

import json

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import OptionError
from skytrace.imaging import PreprocessOptions
from skytrace.lensing.population import PopulationOptions
from skytrace.pipelines.injection_recovery.page_nodes import _downloads, _failure_galleries, summarise_products
from skytrace.pipelines.injection_recovery.product_nodes import compare_with_published
from skytrace.pipelines.injection_recovery.product_nodes_failures import count_failures, explain_failures
from skytrace.selection.completeness import CompletenessOptions, completeness_table, host_tallies
from skytrace.selection.failure_sampling import FailureSample, draw_for_failures, stratified_shares
from skytrace.selection.failures import FailureOptions
from skytrace.selection.forward import ForwardOptions
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.published import PublishedOptions
from skytrace.selection.selection_function import SelectionFunction
from skytrace.selection.two_stage import two_stage_table

from ..selection.fake_sky import FakeSky
from .test_injection_recovery import GRID, INJECTION, campaign_of, run, trained_on

FIVE = SelectionGrid(GridOptions((0.5, 1.0, 1.5, 2.0, 2.5), (1.0, 1.2, 1.4), (23.0, 23.5)))


def truth(grid: SelectionGrid) -> np.ndarray:
    cells = grid.cells()
    logit = -1.5 + 1.5 * (cells["theta_e"] - 1.5) - 2.0 * (cells["psf_fwhm"] - 1.2) + (cells["depth"] - 23.0)
    return (1.0 / (1.0 + np.exp(-logit))).to_numpy()


def scored(grid: SelectionGrid, *, n: int, seed: int) -> pd.DataFrame:
    """Injections into as many hosts, found by a detector whose P is known in every cell."""
    rng, cell = np.random.default_rng(seed), np.repeat(np.arange(grid.n_cells), n)
    score = np.where(rng.random(len(cell)) < truth(grid)[cell], 0.9, 0.1)
    host = [f"host-{number}" for number in range(len(cell))]
    return pd.DataFrame({"cell": cell, "galaxy_id": host, "mode": "matched", "score": score})


def test_a_known_truth_comes_back_with_intervals_that_cover_it_and_corrects_counts():
    """Over 30 surveys of 30 cells the 68 % intervals hold the truth in 0.64 to 0.73 of the cases."""
    held, pulls, inside = [], [], []
    p = truth(FIVE).reshape(FIVE.shape)
    conditions = FIVE.cells().drop_duplicates(["psf_fwhm", "depth"])[["psf_fwhm", "depth"]].assign(weight=1.0)
    lenses = np.array([600.0, 400.0, 250.0, 120.0, 60.0])
    for seed in range(30):
        sample, options = scored(FIVE, n=400, seed=seed), CompletenessOptions((0.5,))
        table = completeness_table(sample, FIVE, options=options).join(host_tallies(sample, FIVE, options=options))
        surface = SelectionFunction.from_table(table, metadata={"verdict": "GO", "threshold_default": 0.5})
        cells = FIVE.cells()
        answer = surface.probability(**{axis: cells[axis] for axis in ("theta_e", "psf_fwhm", "depth")})
        held += list((answer.low <= p.ravel()) & (p.ravel() <= answer.high))
        pulls += list((answer.value - p.ravel()) / np.sqrt(p.ravel() * (1 - p.ravel()) / 400))
        rng = np.random.default_rng(1000 + seed)
        found = rng.poisson(lenses * p.mean(axis=(1, 2)))
        corrected = surface.forward_correct(
            found, FIVE.edges["theta_e"], conditions=conditions, options=ForwardOptions(n_draws=1000), rng=rng
        )
        inside += list((corrected.table["low68"] <= lenses) & (lenses <= corrected.table["high68"]))
    assert 0.64 < np.mean(held) < 0.73
    assert abs(np.mean(pulls)) < 3 / np.sqrt(len(pulls))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.08)
    assert 0.58 < np.mean(inside) < 0.78  # 150 bins: 0.68 +- 0.04


def test_a_word_or_a_threshold_beyond_its_range_is_refused_by_name():
    table = completeness_table(scored(FIVE, n=20, seed=1), FIVE, options=CompletenessOptions(0.5))
    surface = SelectionFunction.from_table(table)
    with pytest.raises(OptionError, match="theta_e = 'a' is not a number"):
        surface.probability(theta_e="a", psf_fwhm=1.2, depth=23.0)
    with pytest.raises(OptionError, match=r"threshold = 1.5 is outside its allowed range \(0, 1\)"):
        surface.probability(theta_e=1.0, psf_fwhm=1.2, depth=23.0, threshold=1.5)
    with pytest.raises(OptionError, match=r"thresholds = 1.5 is outside its allowed range \(0, 1\)"):
        CompletenessOptions(thresholds=1.5)


def test_the_two_stages_multiply_to_completeness_less_what_was_found_below_the_bound():
    injections = scored(FIVE, n=50, seed=3)
    injections["arc_snr"] = np.random.default_rng(4).uniform(0.0, 10.0, len(injections))
    table = two_stage_table(injections, FIVE, threshold=0.5, observable_snr=5.0)
    np.testing.assert_allclose(table["observable_fraction"] * table["conditional_recall"], table["product"])
    below = table["n_detected_unobservable"] / table["n"]
    np.testing.assert_allclose(table["product"] + below, table["completeness"])
    seen = (injections["arc_snr"] >= 5.0) & (injections["cell"] == 7)
    assert table["conditional_recall"][7] == pytest.approx((injections["score"][seen] >= 0.5).mean())


def test_shares_of_causes_weigh_every_cell_by_its_misses():
    sampled = pd.DataFrame({"cell": [0] * 4 + [1] * 4, "cause": ["blended"] * 4 + ["faint_arc"] * 4})
    shares = stratified_shares(sampled, pd.Series([300, 100])).set_index("cause")
    assert shares.loc["blended", "share"] == pytest.approx(0.75)
    assert shares.loc["faint_arc", "share"] == pytest.approx(0.25)
    assert shares.loc["blended", "low68"] < 0.75 < shares.loc["blended", "high68"]
    whole = stratified_shares(sampled, pd.Series([4, 4])).set_index("cause")
    assert whole.loc["blended", ["share", "low95", "high95"]].tolist() == [0.5, 0.5, 0.5]


def test_causes_that_need_no_pixels_are_exact_and_the_others_share_what_they_leave():
    """A third of each cell is faint, but the lot drew half: the count stands, the rest is scaled to two thirds."""
    sampled = pd.DataFrame({"cell": [0] * 4, "cause": ["faint_arc", "faint_arc", "clipped", "unexplained"]})
    counted = pd.Series({"faint_arc": 100, "blended": 0})
    shares = stratified_shares(sampled, pd.Series([300]), counted=counted).set_index("cause")
    assert shares.loc["faint_arc", ["share", "low95", "high95"]].tolist() == pytest.approx([1 / 3] * 3)
    assert shares.loc["blended", "high95"] == 0.0
    assert shares.loc["clipped", "share"] == pytest.approx(1 / 3)
    assert shares["share"].sum() == pytest.approx(1.0)
    drawn = stratified_shares(sampled, pd.Series([300])).set_index("cause")
    assert shares.loc["clipped", "high68"] == pytest.approx(4 / 3 * drawn.loc["clipped", "high68"])


def test_without_a_folder_the_comparison_is_empty_and_says_why():
    table = completeness_table(scored(FIVE, n=20, seed=1), FIVE, options=CompletenessOptions((0.5,)))
    surface = SelectionFunction.from_table(table).to_table()
    cells, marginals, report, *figures = compare_with_published(
        surface, scored(FIVE, n=20, seed=1), {"survey": "mock"}, FIVE.options, PublishedOptions()
    )
    assert len(cells) == len(marginals) == 0
    assert {"role", "difference", "completeness_theirs"} <= set(cells.columns)
    assert report["status"] == "absent"
    assert "not configured" in report["reason"]
    assert all("not configured" in " ".join(figure.axes[0].texts[0].get_text().split()) for figure in figures)


def test_the_pages_parquet_corrects_counts_and_its_csv_and_report_are_the_runs(tmp_path):
    """Forward correction needs the tallies of hosts, which a CSV has no place for."""
    sample, options = scored(FIVE, n=400, seed=1), CompletenessOptions((0.5,))
    table = completeness_table(sample, FIVE, options=options).join(host_tallies(sample, FIVE, options=options))
    known = {"verdict": "NO-GO", "threshold_default": 0.5, "population": {"mag_r_min": 22.0}}
    published = SelectionFunction.from_table(table, metadata=known).to_table()
    report = {"verdict": "NO-GO", "gates": [], "registration": [{"gate": 1}]}
    files = _downloads(published, pd.DataFrame({"axis": ["depth"]}), report, "<p>card</p>")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert set(files) == {
        "selection_function.csv", "selection_function.parquet", "marginals.csv", "realism_report.json",
        "model_card.html",
    }  # fmt: skip
    assert json.loads(files["realism_report.json"]) == report
    surface = SelectionFunction.load(tmp_path / "selection_function.parquet")
    assert surface.metadata["population"] == {"mag_r_min": 22.0}
    conditions = FIVE.cells().drop_duplicates(["psf_fwhm", "depth"])[["psf_fwhm", "depth"]].assign(weight=1.0)
    edges, ask = FIVE.edges["theta_e"], {"conditions": conditions, "rng": np.random.default_rng(2)}
    forward = ForwardOptions(n_draws=500)
    corrected = surface.forward_correct([600, 600, 600, 600, 600], edges, options=forward, **ask)
    share = published.groupby("theta_e")["completeness"].mean().to_numpy()
    np.testing.assert_allclose(corrected.table["completeness"], share, rtol=1e-9)
    text = SelectionFunction.load(tmp_path / "selection_function.csv")
    assert text.table["completeness"].tolist() == surface.table["completeness"].tolist()
    assert "host_n" not in text.table and "host_n" in surface.table


def test_every_sampled_miss_has_a_cause_and_the_counts_add_up(tmp_path):
    injections = run(tmp_path)
    sky, campaign = FakeSky(), campaign_of(FakeSky())
    score = injections["score"]
    detector = trained_on().with_card(threshold={"value": float(score.quantile(0.8))})
    sample = FailureSample(per_cell_missed=6, per_cell_detected=2, per_cause=3)
    failures, stamps = explain_failures(
        sky, detector, campaign.hosts, campaign.conditions, injections, GRID, PopulationOptions(), INJECTION,
        PreprocessOptions(), FailureOptions(), sample,
    )  # fmt: skip
    chosen = draw_for_failures(injections, threshold=detector.threshold, sample=sample)
    assert failures["injection_id"].tolist() == chosen["injection_id"].tolist()
    assert ((failures["cause"] == "detected") == (failures["score"] >= detector.threshold)).all()
    assert "not_measured" not in set(failures["cause"])
    counts, report, _ = count_failures(failures, injections, detector, GRID, FailureOptions())
    assert counts["n_missed"].sum() == (score < detector.threshold).sum()
    shares = [row["share"] for row in report["causes"]]
    assert sum(shares) == pytest.approx(1.0)
    missed = injections[score < detector.threshold]
    faint = (missed["arc_snr"] < FailureOptions().observable_snr).to_numpy()
    known = {row["cause"]: row for row in report["causes"]}
    assert known["faint_arc"]["n_of_all_missed"] == faint.sum() > 0
    assert known["faint_arc"]["share"] == pytest.approx(faint.mean())
    assert known["clipped"]["n_of_all_missed"] is None
    json.dumps(report, allow_nan=False)
    sheets = _failure_galleries(stamps, report)
    assert len(sheets) == len(set(stamps["cause"]))


def test_shares_that_the_sample_does_not_tell_are_said_to_be_unmeasured():
    """Real fields of a few hosts: a cell whose misses are not in the sample leaves every share open."""
    said, told = {"sentence": "A sentence."}, {"sentences": ["Published."]}
    known = {"causes": [{"cause": "faint_arc", "share": 0.75}, {"cause": "clipped", "share": 0.25}], "sentences": []}
    unknown = {"causes": [{"cause": "faint_arc", "share": None}], "sentences": []}
    heading = "Why injections are missed"
    assert summarise_products(said, said, said, known, told)[heading] == ["Of the missed: faint arc 75%, clipped 25%."]
    partly = {"causes": [*known["causes"][:1], *unknown["causes"]], "sentences": []}
    words = summarise_products(said, said, said, partly, told)[heading]
    assert words == ["Of the missed: faint arc 75%; the shares of the other causes are not measured."]
    for failures in (unknown, {"causes": [], "sentences": []}):
        assert "not measured" in summarise_products(said, said, said, failures, told)[heading][0]
