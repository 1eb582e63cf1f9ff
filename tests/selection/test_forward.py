"""A synthetic detector of known P(detected | theta_E, PSF, depth): cells, intervals and the correction recover it."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit, roots_hermitenorm
from scipy.stats import poisson

from skytrace.errors import OptionError, SelectionEnvelopeError
from skytrace.selection.completeness import CompletenessOptions, completeness_table, host_tallies
from skytrace.selection.forward import (
    ForwardOptions,
    cell_covariance,
    corrected_rates,
    forward_correct,
    host_covariance,
)
from skytrace.selection.grid import GridOptions, SelectionGrid

EACH, HOSTS, LUCK = 120, 30, 0.8
# every (PSF, depth) condition has hosts of its own: each is a survey measured once
MANY = SelectionGrid(
    GridOptions(
        (1.0, 1.5, 2.0), tuple(np.round(0.8 + 0.05 * np.arange(25), 6)), tuple(np.round(22 + 0.1 * np.arange(40), 6))
    )
)


def true_completeness(grid):
    """P by cell of a detector whose hosts' luck is N(0, LUCK) in the logit: averaged over hosts by quadrature."""
    cells = grid.cells()
    centre = -0.8 + 1.2 * (cells["theta_e"] - 1.5) - 1.0 * (cells["psf_fwhm"] - 1.3) + 0.5 * (cells["depth"] - 24)
    x, w = roots_hermitenorm(40)
    return expit(centre.to_numpy()[:, None] + LUCK * x) @ w / w.sum(), centre.to_numpy()


def measured(grid, rng):
    """Injections of the synthetic detector, EACH a cell into HOSTS hosts a condition, scored 0.9 or 0.1."""
    _, centre = true_completeness(grid)
    cell = np.repeat(np.arange(grid.n_cells), EACH)
    n_conditions = grid.shape[1] * grid.shape[2]
    host = (cell % n_conditions) * HOSTS + np.tile(np.arange(EACH) % HOSTS, grid.n_cells)
    luck = LUCK * rng.normal(size=n_conditions * HOSTS)
    detected = rng.random(len(cell)) < expit(centre[cell] + luck[host])
    return pd.DataFrame({"cell": cell, "galaxy_id": host, "mode": "matched", "score": np.where(detected, 0.9, 0.1)})


@pytest.fixture(scope="module")
def surface():
    return measured_surface(MANY, np.random.default_rng(11))


def test_published_cells_and_their_intervals_recover_the_known_detector(surface):
    truth, _ = true_completeness(MANY)
    z = (surface["completeness"] - truth) / np.sqrt(truth * (1 - truth) / surface["n_effective"])
    assert abs(z.mean()) < 0.05  # 3000 cells, 1000 independent sets of hosts: unbiased
    covered = (surface["low68_hosts"] <= truth) & (truth <= surface["high68_hosts"])
    assert 0.64 < covered.mean() < 0.73
    covered = (surface["low95_hosts"] <= truth) & (truth <= surface["high95_hosts"])
    assert 0.93 < covered.mean() < 0.97


def as_surveys(surface, name, size=1):
    """(survey, bin, condition): every group of ``size`` neighbouring conditions is a survey of its own."""
    return surface[name].to_numpy(dtype=float).reshape(3, -1, size).transpose(1, 0, 2)


def averaged(surface, weight, size=1):
    """Completeness (survey, bin) of every survey and its covariance, each survey's hosts drawn whole."""
    weight = np.asarray(weight, dtype=float)
    share = as_surveys(surface, "completeness", size)
    covariance = []
    for first in range(0, len(surface) // 3, size):
        rows = surface.iloc[(np.arange(3)[:, None] * (len(surface) // 3) + first + np.arange(size)).ravel()]
        host, n, hits = (np.concatenate(rows[name].to_list()) for name in ("hosts", "host_n", "host_n_detected"))
        place = np.repeat(np.arange(3 * size), [len(one) for one in rows["hosts"]])
        covariance.append(host_covariance(host, n, hits, place, weight, shape=(3, size)))
    return share @ weight, np.array(covariance)


def measured_surface(grid, rng):
    sample, options = measured(grid, rng), CompletenessOptions(min_injections=EACH)
    return completeness_table(sample, grid, options=options).join(host_tallies(sample, grid, options=options))


@pytest.mark.parametrize("size", [1, 2])
def test_the_correction_of_a_thousand_surveys_is_unbiased_and_covers(surface, size):
    rng = np.random.default_rng(5)
    truth = true_completeness(MANY)[0].reshape(3, -1, size).transpose(1, 0, 2)
    weight = np.array([0.7, 0.3]) if size == 2 else np.ones(1)
    lenses = np.array([60.0, 40.0, 25.0])
    repeats = size  # 1000 surveys either way
    completeness, covariance = averaged(surface, weight, size)
    parts = [[] for _ in range(2)]
    for _ in range(repeats):
        counts = rng.poisson(lenses * (truth @ weight))
        bins, total = corrected_rates(counts, completeness, covariance, n_draws=400, rng=rng)
        parts[0].append(bins)
        parts[1].append(total)
    found = {name: np.concatenate([part[name] for part in parts[0]]) for name in parts[0][0]}
    summed = {name: np.concatenate([part[name] for part in parts[1]]) for name in parts[1][0]}
    assert len(summed["lenses"]) == 1000
    # unbiased: the mean over surveys lies within its own error, and within a tenth of one survey's interval
    for values, true in ((found["lenses"], lenses), (summed["lenses"], lenses.sum())):
        error = values.std(axis=0) / np.sqrt(1000 / repeats)
        assert (np.abs(values.mean(axis=0) - true) < 3.5 * error).all()
        assert (np.abs(values.mean(axis=0) - true) < 0.1 * values.std(axis=0)).all()
    bins_covered = ((found["low68"] <= lenses) & (lenses <= found["high68"])).mean()
    total_covered = ((summed["low68"] <= lenses.sum()) & (lenses.sum() <= summed["high68"])).mean()
    assert 0.64 < bins_covered < 0.73
    assert 0.64 < total_covered < 0.73


def test_over_a_dozen_surfaces_cells_bins_and_totals_cover_as_stated():
    """One surface leaves 0.01 to 0.02 of chance in a coverage; 12 of them, with 12,000 surveys, 0.003 to 0.007."""
    lenses, found = np.array([60.0, 40.0, 25.0]), []
    for seed in range(100, 112):
        rng = np.random.default_rng(seed)
        table = measured_surface(MANY, rng)
        truth = true_completeness(MANY)[0]
        counts = rng.poisson(lenses * as_surveys(table.assign(truth=truth), "truth")[..., 0])
        bins, total = corrected_rates(counts, *averaged(table, [1.0]), n_draws=400, rng=rng)
        found.append([
            ((table["low68_hosts"] <= truth) & (truth <= table["high68_hosts"])).mean(),
            ((bins["low68"] <= lenses) & (lenses <= bins["high68"])).mean(),
            ((total["low68"] <= lenses.sum()) & (lenses.sum() <= total["high68"])).mean(),
        ])  # fmt: skip
    cells, bins, total = np.mean(found, axis=0)
    # of 24 surfaces: 0.6815, 0.677 and 0.673
    assert 0.66 < cells < 0.70
    assert 0.66 < bins < 0.70
    assert 0.65 < total < 0.70


def test_plain_trials_instead_of_effective_ones_would_make_the_interval_too_narrow(surface):
    options = {"n_draws": 4000, "rng": np.random.default_rng(0)}
    share, covariance = averaged(surface, [1.0])
    cells = as_surveys(surface, "completeness")
    counts = np.full((50, 3), 400)
    trials = cell_covariance(cells[:50], np.full((50, 3, 1), float(EACH)), [1.0], dependence="cells")
    plain = corrected_rates(counts, share[:50], trials, **options)[0]
    wide = corrected_rates(counts, share[:50], covariance[:50], **options)[0]
    ratio = (wide["high68"] - wide["low68"]) / (plain["high68"] - plain["low68"])
    assert 1.03 < ratio.mean() < 1.5


def test_with_a_perfectly_known_completeness_the_interval_is_that_of_poisson_counts():
    bins, total = corrected_rates([9.0], [0.25], [[1e-13]], n_draws=200_000, rng=np.random.default_rng(0))
    assert bins["lenses"][0] == pytest.approx(36.0, rel=1e-9)
    for name, level in (("low68", 0.158655), ("high95", 0.97725)):
        # mid-p: P(N' < 9) + P(N' = 9) / 2 of a Poisson count, between the exact limits' tails
        rate = brentq(lambda mean, p=level: poisson.sf(8, mean) - 0.5 * poisson.pmf(9, mean) - p, 1.0, 40.0)
        assert bins[name][0] == pytest.approx(rate / 0.25, rel=0.01)
        assert total[name] == pytest.approx(rate / 0.25, rel=0.01), "one bin is its own sum"


#: By theta_E, about as the built-in survey measures it, the faintest bin aside.
REALISTIC = np.array([0.012, 0.04, 0.08, 0.12, 0.15, 0.15, 0.14, 0.13, 0.12, 0.10])


@pytest.mark.parametrize("slope", [-2.5, 0.0, 1.5])
@pytest.mark.parametrize("found", [10, 30, 100])
def test_the_total_of_ten_bins_covers_with_few_lenses_and_holds_its_estimate(slope, found):
    """Half a lens a bin would put the 68 % interval of 10 found above its own estimate; see ``_summed_rates``."""
    rng = np.random.default_rng(3)
    shape = (0.75 + 0.25 * np.arange(10)) ** slope
    lenses = shape * found / (shape * REALISTIC).sum()
    counts = rng.poisson(lenses * REALISTIC, size=(1500, 10)).astype(float)
    covariance = np.diag((0.05 * REALISTIC) ** 2)
    measured = np.clip(rng.normal(REALISTIC, 0.05 * REALISTIC, size=counts.shape), 1e-3, 1)
    _, total = corrected_rates(counts, measured, covariance, n_draws=400, rng=rng)
    for level, low in (("68", 0.64), ("95", 0.93)):
        covered = (total[f"low{level}"] <= lenses.sum()) & (lenses.sum() <= total[f"high{level}"])
        assert low < covered.mean(), "never short of what it says; wider with few lenses in bins of great weight"
    assert ((total["low68"] <= total["lenses"]) & (total["lenses"] <= total["high68"])).mean() > 0.99
    width = np.median(total["high68"] - total["low68"]) / lenses.sum()
    ideal = 2 * np.sqrt((lenses / REALISTIC).sum()) / lenses.sum()  # of a sum whose variance were known
    assert width < (2.2 if found == 10 else 1.6) * ideal


def test_no_lens_found_leaves_an_interval_from_zero():
    bins, total = corrected_rates(
        [0.0, 0.0], [0.1, 0.2], np.diag([1e-13] * 2), n_draws=100_000, rng=np.random.default_rng(0)
    )
    assert bins["low68"].tolist() == [0.0, 0.0] and total["low68"] == total["lenses"] == 0.0
    assert bins["high68"] == pytest.approx(-np.log(2 * (1 - 0.841345)) / np.array([0.1, 0.2]), rel=0.02)
    assert total["high68"] == pytest.approx(bins["high68"][0], rel=0.02)  # one lens of the greatest weight


def test_errors_that_move_together_widen_the_total_and_no_single_bin():
    share, n, weight = np.full((6, 4), 0.3), np.full((6, 4), 40.0), np.full(4, 0.25)
    counts, widths = np.full(6, 4000.0), {}
    for kind in ("cells", "condition", "all"):
        covariance = cell_covariance(share, n, weight, dependence=kind)
        bins, total = corrected_rates(counts, share @ weight, covariance, rng=np.random.default_rng(1))
        widths[kind] = (bins["high68"] - bins["low68"]).mean(), total["high68"] - total["low68"]
    assert widths["condition"][0] == pytest.approx(widths["cells"][0], rel=0.05)
    assert widths["condition"][1] == pytest.approx(np.sqrt(6) * widths["cells"][1], rel=0.1)
    assert widths["all"][1] == pytest.approx(2 * widths["condition"][1], rel=0.1)  # four conditions no longer average


CONDITIONS, POOL = 35, 120


def shared_hosts(rng, share, *, luck=1.2, each=200, surveys=150):
    """Surveys whose 35 conditions are served by the same 120 hosts: tallies (survey, bin, condition, host)."""
    x, w = roots_hermitenorm(60)
    centre = np.array([brentq(lambda c, p=p: expit(c + luck * x) @ w / w.sum() - p, -20, 10) for p in share])
    good = luck * rng.normal(size=(surveys, POOL))
    p = expit(centre[None, :, None, None] + good[:, None, None, :])
    # 60 of the hosts in each condition, as a campaign chooses them
    chosen = np.argsort(rng.random((surveys, 1, CONDITIONS, POOL)), axis=-1) < 60
    n = np.where(chosen, rng.multinomial(each, np.full(POOL, 1 / POOL), size=chosen.shape[:-1]), 0)
    n = np.broadcast_to(n, (surveys, len(share), CONDITIONS, POOL))
    return n, rng.binomial(n, np.broadcast_to(p, n.shape))


def test_hosts_that_serve_every_condition_are_counted_once_down_to_half_a_percent():
    """Completeness 0.4 % to 20 % in 35 conditions of 200 injections, as on the default sky; 600 surveys."""
    rng, truth, lenses = np.random.default_rng(8), np.array([0.004, 0.02, 0.2]), np.array([5000.0, 2000.0, 400.0])
    n, hits = shared_hosts(rng, truth, surveys=600)
    weight = np.full(CONDITIONS, 1 / CONDITIONS)
    place = np.repeat(np.arange(3 * CONDITIONS), POOL)
    host = np.tile(np.arange(POOL), 3 * CONDITIONS)
    share = (hits.sum(axis=-1) / n.sum(axis=-1)) @ weight
    covariance = []
    for trials, found in zip(n, hits, strict=True):
        used = trials.ravel() > 0
        covariance.append(
            host_covariance(
                host[used], trials.ravel()[used], found.ravel()[used], place[used], weight, shape=(3, CONDITIONS)
            )
        )
    counts = rng.poisson(lenses * truth, size=share.shape)
    bins, total = corrected_rates(counts, share, np.array(covariance), n_draws=600, rng=rng)
    for level, low, high in (("68", 0.63, 0.73), ("95", 0.92, 0.975)):
        covered = ((bins[f"low{level}"] <= lenses) & (lenses <= bins[f"high{level}"])).mean(axis=0)
        assert ((low < covered) & (covered < high)).all(), covered
        summed = ((total[f"low{level}"] <= lenses.sum()) & (lenses.sum() <= total[f"high{level}"])).mean()
        assert low < summed < high
    inside = (bins["low68"] <= bins["lenses"]) & (bins["lenses"] <= bins["high68"])
    assert inside.mean(axis=0).min() > 0.99  # an estimate lies in its own interval
    error = bins["lenses"].std(axis=0) / np.sqrt(600)
    assert (np.abs(bins["lenses"].mean(axis=0) - lenses) < 3.5 * error).all()
    # without the sharing, conditions would seem to average the hosts' luck away
    alone = np.sqrt(np.sum((0.2 * 0.8 / 200) * weight**2))
    assert np.sqrt(np.mean([one[2, 2] for one in covariance])) > 2 * alone


SMALL = SelectionGrid(GridOptions((1.0, 1.5, 2.0), (0.9, 1.05), (23.0, 23.5)))
SKY = pd.DataFrame({"psf_fwhm": [0.95, 0.9], "depth": [23.1, 23.6], "weight": [30.0, 10.0]})


@pytest.fixture
def small():
    p = 0.2 + 0.05 * np.arange(SMALL.n_cells) / SMALL.n_cells
    rows = []
    for cell, share in enumerate(p):
        k = round(400 * share)
        rows += [(cell, f"h{cell}-{i}", "matched", 0.9 if i < k else 0.1) for i in range(400)]
    sample = pd.DataFrame(rows, columns=["cell", "galaxy_id", "mode", "score"])
    return completeness_table(sample, SMALL).join(host_tallies(sample, SMALL))


def test_without_tallies_of_hosts_their_dependence_must_be_said(small):
    bare = small.drop(columns=["hosts", "host_n", "host_n_detected"])
    with pytest.raises(OptionError, match="needs to know which cells share hosts"):
        correct([10], [1.25, 1.75], bare)
    assert correct([10], [1.25, 1.75], bare, dependence="condition").table["lenses"][0] == pytest.approx(
        correct([10], [1.25, 1.75], small).table["lenses"][0], rel=0.01
    )


def correct(counts, edges, surface, conditions=SKY, **options):
    return forward_correct(
        counts, edges, surface, conditions=conditions, threshold=0.5, options=ForwardOptions(**options),
        rng=np.random.default_rng(0),
    )  # fmt: skip


def test_each_bin_takes_the_cells_of_its_own_sky(small):
    found = correct([10, 20], [1.25, 1.75, 2.25], small)
    cells = small.set_index("cell")["completeness"]
    expected = [0.75 * cells[4] + 0.25 * cells[5], 0.75 * cells[8] + 0.25 * cells[9]]
    np.testing.assert_allclose(found.table["completeness"], expected, rtol=1e-12)
    assert found.total["lenses"] == pytest.approx(found.table["lenses"].sum())
    assert found.table["low68"][0] < found.table["lenses"][0] < found.table["high68"][0]
    assert (found.total["observed"], found.total["bins_refused"]) == (30, 0)


def test_what_was_not_measured_is_refused_and_named(small):
    with pytest.raises(SelectionEnvelopeError, match=r"2.25-2.75 arcsec \(outside\)"):
        correct([10, 20], [1.75, 2.25, 2.75], small)
    with pytest.raises(SelectionEnvelopeError, match=r"75.0% of the searched sky.*psf_fwhm = 2"):
        correct([1], [0.75, 1.25], small, SKY.assign(psf_fwhm=[2.0, 1.0]))
    with pytest.raises(OptionError, match="no bin of the surface"):
        correct([1], [0.8, 1.3], small)
    with pytest.raises(SelectionEnvelopeError, match=r"was not measured; there are 0\.5"):
        forward_correct([1], [0.75, 1.25], small, conditions=SKY, threshold=0.9, rng=np.random.default_rng(0))
    with pytest.raises(OptionError, match="whole numbers"):
        correct([1.5], [0.75, 1.25], small)


def test_a_refused_bin_is_nan_with_its_reason_and_enters_no_total(small):
    small.loc[small["cell"] == 4, "state"] = "insufficient"
    small.loc[small["cell"] == 9, "completeness"] = small.loc[small["cell"] == 8, "completeness"] = 0.0
    with pytest.raises(SelectionEnvelopeError, match=r"1.25-1.75 arcsec \(insufficient\)"):
        correct([5, 6, 0], [0.75, 1.25, 1.75, 2.25], small)
    found = correct([5, 6, 7, 8], [0.75, 1.25, 1.75, 2.25, 2.75], small, refused="nan")
    assert list(found.table["state"]) == ["ok", "insufficient", "unconstrained", "outside"]
    assert np.isfinite(found.table["lenses"]).tolist() == [True, False, False, False]
    assert (found.total["observed"], found.total["observed_refused"]) == (5, 21)
    assert found.total["lenses"] == pytest.approx(found.table["lenses"][0])
    # of cells that were joined by rule the shared completeness is used
    small.loc[small["cell"] == 4, "state"] = "merged"
    assert correct([6], [1.25, 1.75], small).table["state"][0] == "ok"


def test_a_completeness_that_bare_hosts_reach_is_refused(small):
    small["share_host_detected"] = 0.0
    assert correct([5], [0.75, 1.25], small).table["state"][0] == "ok"
    error = correct([5], [0.75, 1.25], small).table["completeness_error"][0]
    completeness = correct([5], [0.75, 1.25], small).table["completeness"][0]
    small["share_host_detected"] = completeness - 1.5 * error
    with pytest.raises(SelectionEnvelopeError, match=r"0.75-1.25 arcsec \(false_positives\)"):
        correct([5], [0.75, 1.25], small)
    assert correct([5], [0.75, 1.25], small, host_excess_sigma=1.4).table["state"][0] == "ok"


@pytest.mark.parametrize("counts", [[np.inf], ["many"], [-1]])
def test_counts_that_are_none_are_refused(small, counts):
    with pytest.raises(OptionError, match="numbers"):
        correct(counts, [0.75, 1.25], small)


def test_conditions_and_streams_that_are_none_are_refused(small):
    with pytest.raises(OptionError, match="conditions must be a table"):
        correct([5], [0.75, 1.25], small, {"psf_fwhm": [1.0]})
    with pytest.raises(OptionError, match="rng = 1 must be a numpy Generator"):
        forward_correct([5], [0.75, 1.25], small, conditions=SKY, threshold=0.5, rng=1)


def test_only_sky_with_weight_must_be_measured(small):
    small.loc[small["cell"] == 1, ["state", "completeness", "n_effective"]] = ["no_hosts", np.nan, np.nan]
    assert correct([5], [0.75, 1.25], small, SKY.assign(weight=[1.0, 0.0])).table["state"][0] == "ok"
    with pytest.raises(SelectionEnvelopeError, match="no_hosts"):
        correct([5], [0.75, 1.25], small)


def test_the_synthetic_detector_is_the_one_that_was_meant():
    truth, centre = true_completeness(MANY)
    drawn = expit(centre[1500] + LUCK * np.random.default_rng(0).normal(size=400_000)).mean()
    assert truth[1500] == pytest.approx(drawn, abs=2e-3) and abs(logit(truth).mean()) < 2
