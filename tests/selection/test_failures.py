"""Failure causes: a planted cause is found, in the stated precedence, and nothing unknown is called unexplained."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError, PixelError
from skytrace.selection.failure_sampling import gallery_ids
from skytrace.selection.failures import (
    CAUSES,
    FailureOptions,
    cause_summary,
    counted_causes,
    failure_causes,
    failure_counts,
    failure_covariates,
)
from skytrace.selection.grid import GridOptions, SelectionGrid

#: A missed lens without any of the causes, and what plants each.
INNOCENT = {
    "theta_e_arcsec": 1.5, "arc_snr": 20.0, "score": 0.2, "mode": "matched", "psf_fwhm": 1.2, "host_psfsize_r": 1.1,
    "host_over_arc": 0.3, "masked_share": 0.0, "neighbour_share": 0.0, "clipped_share": 0.0, "score_core_masked": 0.2,
}  # fmt: skip
PLANTS = {
    "faint_arc": {"arc_snr": 4.9},
    "blended": {"theta_e_arcsec": 1.0},
    "host_outshines": {"host_over_arc": 1.5},
    "neighbour_or_mask": {"neighbour_share": 0.3},
    "clipped": {"clipped_share": 0.5},
    "core_sensitive": {"score_core_masked": 0.45},
}


def rows(*changes):
    return pd.DataFrame([INNOCENT | change for change in changes])


def cause_of(*changes, **options):
    return list(failure_causes(rows(*changes), threshold=0.5, options=FailureOptions(**options))["cause"])


@pytest.mark.parametrize("cause", CAUSES)
def test_a_planted_cause_is_that_cause(cause):
    assert cause_of(PLANTS[cause]) == [cause]


def test_a_mask_alone_and_a_score_that_falls_without_the_core_count_as_well():
    assert cause_of({"masked_share": 0.2}, {"score_core_masked": 0.05}) == ["neighbour_or_mask", "core_sensitive"]


def test_the_first_of_several_causes_wins_in_the_stated_order():
    names = list(CAUSES)
    for start in range(len(names)):
        together = {key: value for name in names[start:] for key, value in PLANTS[name].items()}
        assert cause_of(together) == [names[start]]


def test_a_lens_without_any_cause_is_unexplained_and_a_found_one_has_none():
    assert cause_of({}, {"score": 0.5, "arc_snr": 1.0}) == ["unexplained", "detected"]


def test_an_unmeasured_covariate_is_said_and_never_called_unexplained():
    assert cause_of({"score_core_masked": np.nan}) == ["not_measured"]
    assert cause_of({"score_core_masked": np.nan, "arc_snr": 1.0}) == ["faint_arc"]
    # the neighbour would come first, had the host's light been measured
    assert cause_of({"host_over_arc": np.nan, "neighbour_share": 0.5}) == ["not_measured"]


def test_the_psf_of_a_degraded_host_is_that_of_its_cell():
    degraded = {"mode": "degraded", "theta_e_arcsec": 1.15}
    assert cause_of(degraded, degraded | {"mode": "matched"}) == ["blended", "unexplained"]


def test_thresholds_are_options():
    assert cause_of({"arc_snr": 7.0}, observable_snr=8.0) == ["faint_arc"]
    assert cause_of({}, blended_theta_e=2.0) == ["blended"]
    with pytest.raises(OptionError, match=r"clipped_share = 0\.0 is outside"):
        FailureOptions(clipped_share=0.0)


def test_missing_columns_are_named():
    with pytest.raises(CatalogueError, match="clipped_share"):
        failure_causes(rows({}).drop(columns="clipped_share"), threshold=0.5)


def test_causes_that_need_no_pixels_are_counted_among_all_as_the_precedence_has_them():
    table = rows(PLANTS["faint_arc"], PLANTS["faint_arc"] | PLANTS["blended"], PLANTS["blended"], PLANTS["clipped"], {})
    first = failure_causes(table, threshold=0.5)["cause"].value_counts()
    counted = counted_causes(table.drop(columns=["host_over_arc", "masked_share", "neighbour_share", "clipped_share"]))
    assert counted.to_dict() == {"faint_arc": 2, "blended": 1} == first[["faint_arc", "blended"]].to_dict()
    unknown = rows(PLANTS["blended"] | {"arc_snr": np.nan})
    assert counted_causes(unknown).to_dict() == {"faint_arc": 0, "blended": 0}, "an earlier cause is not known to fail"


def test_counts_by_cell_add_up():
    grid = SelectionGrid(GridOptions((1.0, 1.25), (0.9, 1.05), (23.0, 23.5)))
    changes = [*PLANTS.values(), {}, {"score": 0.9}, {"score_core_masked": np.nan}]
    table = rows(*changes * 3)
    cell = np.repeat([0, 5, 7], len(changes))
    counts = failure_counts(cell, failure_causes(table, threshold=0.5)["cause"], grid)
    causes = [*CAUSES, "unexplained", "not_measured"]
    assert (counts.loc[[0, 5, 7], causes] == 1).all(axis=None) and counts["n"].sum() == len(table)
    assert list(counts.loc[[0, 1], "n_missed"]) == [8, 0]
    assert (counts[causes].sum(axis=1) == counts["n_missed"]).all()


def test_a_cause_as_common_among_the_detected_is_seen_to_explain_nothing():
    faint_misses = [{"arc_snr": 2.0}] * 30 + [{}] * 10
    bright_hosts = [{"host_over_arc": 3.0, "score": score} for score in (0.1, 0.9) for _ in range(20)]
    summary = cause_summary(failure_causes(rows(*faint_misses, *bright_hosts, {"score": 0.9}), threshold=0.5))
    found = summary.set_index("cause")
    assert found.loc["faint_arc", ["n", "n_holds", "holds_detected"]].tolist() == [30, 30, 0.0]
    assert found.loc["faint_arc", "holds_missed"] == pytest.approx(0.5)
    assert found.loc["host_outshines", "holds_detected"] == pytest.approx(20 / 21)
    assert found["share_of_missed"].sum() == pytest.approx(1.0)


def test_the_gallery_is_drawn_by_lot_and_does_not_depend_on_the_order():
    cause = np.array(["blended"] * 50 + ["detected"] * 20 + ["unexplained"] * 3, dtype=object)
    ids = np.arange(73)
    chosen = gallery_ids(ids, cause, n=5, seed=1)
    assert {name: len(values) for name, values in chosen.items()} == {"blended": 5, "unexplained": 3}
    again = gallery_ids(ids[::-1], cause[::-1], n=5, seed=1)
    np.testing.assert_array_equal(chosen["blended"], again["blended"])


SIZE, SIGMA = 64, 0.01


def pixels(n):
    """A faint round host, a ring of light 1 nmgy at 2", and blank stamps."""
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    radius = np.hypot(x, y) * 0.262
    host = np.broadcast_to(np.exp(-radius / 0.5), (n, 3, SIZE, SIZE)).astype(np.float32).copy()
    ring = np.abs(radius - 2.0) < 0.3
    added = np.broadcast_to(ring / ring.sum(), host.shape).astype(np.float32).copy()
    return {
        "host": host, "added": added, "stamps": np.zeros_like(host), "invvar": np.full_like(host, SIGMA**-2),
        "radius": radius,
    }  # fmt: skip


def measured(given):
    radius = given.pop("radius")
    table = failure_covariates(
        **given, theta_e_arcsec=2.0, fwhm_arcsec=1.0, background_nmgy=0.0, sigma_nmgy=SIGMA, clip=10.0
    )
    return table, np.abs(radius - 2.0) <= 1.0


def test_pixel_covariates_of_a_clean_stamp_are_those_counted_by_hand():
    given = pixels(2)
    host = given["host"].copy()
    table, annulus = measured(given)
    assert table["host_over_arc"][0] == pytest.approx(host[0, 1][annulus].sum() / 1.0, rel=1e-5)
    assert (table[["masked_share", "neighbour_share", "clipped_share"]] == 0.0).all(axis=None)


def test_planted_neighbours_masks_and_clipped_pixels_are_measured_where_they_were_planted():
    given = pixels(4)
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    blob = np.hypot(x - 8, y) < 3  # 2.1" to the side, well above noise and host
    given["host"][1, :, blob] += 1.0
    half = x > 0
    given["invvar"][2, 2, half] = 0.0  # one band without data is enough
    given["stamps"][3, :2, half] = -10.0
    table, annulus = measured(given)
    share = (blob & annulus).sum() / annulus.sum()
    assert table["neighbour_share"][1] == pytest.approx(share, abs=0.02)
    assert (table["neighbour_share"][[0, 2, 3]] == 0).all()
    assert table["masked_share"].tolist() == [0.0, 0.0, pytest.approx((half & annulus).sum() / annulus.sum()), 0.0]
    # half of the ring's light (less the column through the middle) on clipped pixels in two of three bands
    light = given["added"][3, 0][half & annulus].sum()
    assert table["clipped_share"].tolist() == [0.0, 0.0, 0.0, pytest.approx(2 * light / 3, rel=1e-5)]


def test_without_arc_light_the_host_outshines_it_and_without_pixels_nothing_is_known():
    given = pixels(2)
    given["added"][0] = 0.0
    given["invvar"][1] = 0.0
    table, _ = measured(given)
    assert table["host_over_arc"][0] == np.inf and np.isnan(table["host_over_arc"][1])
    assert table["masked_share"][1] == 1.0
    with pytest.raises(PixelError, match="added shape"):
        failure_covariates(
            np.zeros((1, 3, 8, 8)), np.zeros((1, 3, 9, 9)), np.zeros((1, 3, 8, 8)), np.ones((1, 3, 8, 8)),
            theta_e_arcsec=1.0, fwhm_arcsec=1.0, background_nmgy=0.0, sigma_nmgy=1.0, clip=10.0,
        )  # fmt: skip
