import pandas as pd

from skytrace.reporting.outside_figures import outside_figure


def ranked(compared):
    """Lens a in two cells, lens b in one; b's cell has too few injections like it."""
    return pd.DataFrame(
        {
            "name": ["a", "a", "b"], "compared": compared,
            "arc_radius_ratio": [1.0, 1.2, 9.0], "arc_radius_ratio_matched": [0.8, 1.0, 9.0],
            "arc_asymmetry": [0.4, 0.6, 9.0], "arc_asymmetry_matched": [0.2, 0.2, 9.0],
        }
    )  # fmt: skip


REPORT = {"lenses_compared": 1, "lens_cells_compared": 2, "verdict": "insufficient", "shapes": {}}


def test_only_lenses_that_were_compared_are_drawn_at_their_median_over_cells():
    left, middle, right = outside_figure(REPORT, ranked([True, True, False])).axes
    points = [[tuple(map(float, pair)) for pair in axis.containers[0][0].get_xydata()] for axis in (left, middle)]
    assert points == [[(0.9, 1.1)], [(0.2, 0.5)]]  # of the injections, of the lens
    assert [text.get_text() for text in right.texts] == ["too few lenses to rank"]


def test_where_no_lens_was_compared_the_panels_say_so():
    for axis in outside_figure(REPORT, ranked([False] * 3)).axes[:2]:
        assert "enough" in axis.texts[0].get_text() and not axis.containers
