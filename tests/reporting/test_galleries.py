"""Galleries show the right errors, in order, in the colours of the pixels that the network saw."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skytrace.errors import CatalogueError
from skytrace.imaging import PreprocessOptions, preprocess
from skytrace.imaging.preprocessing import annulus_statistics
from skytrace.reporting.galleries import error_galleries, error_gallery, gallery_items, stamp_pictures, worst_errors
from skytrace.reporting.stamps import rgb_stamps


def scores() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "galaxy_id": ["e", "d", "c", "b", "a", "f"], "label": [0, 0, 0, 1, 1, 1],
            "score": [0.9, 0.9, 0.5, 0.49, 0.1, 0.8], "confuser_category": ["ring_proxy", "", "", "", "", ""],
            "tier": ["", "", "", "A", "B", "A"], "theta_e_arcsec": [np.nan] * 3 + [1.25, np.nan, 2.0],
        }
    )  # fmt: skip


def real_stamps(n: int = 2, *, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = rng.normal(0.0, [[[[0.003]], [[0.004]], [[0.012]]]], (n, 3, 101, 101)).astype(np.float32)
    images[:, :, 45:56, 45:56] += np.array([0.05, 0.1, 0.3], dtype=np.float32)[None, :, None, None]
    return images


def test_the_worst_come_first_ties_by_name_and_the_threshold_counts_as_detected():
    false_positives, false_negatives = worst_errors(scores(), threshold=0.5, n=10)
    assert false_positives["galaxy_id"].tolist() == ["d", "e", "c"]
    assert false_negatives["galaxy_id"].tolist() == ["a", "b"]
    short, _ = worst_errors(scores(), threshold=0.5, n=1)
    assert (short["galaxy_id"].tolist(), short.attrs["of"]) == (["d"], 3)


def test_with_its_scale_a_preprocessed_stamp_has_the_colours_of_its_fluxes():
    images = real_stamps()
    options = PreprocessOptions()
    median, scale = annulus_statistics(images, None, options=options)
    crop = slice(50 - options.crop // 2, 50 + options.crop // 2)
    fluxes = (images - median[:, :, None, None])[:, :, crop, crop]
    pictures = stamp_pictures(preprocess(images, options=options), scale=scale)
    difference = np.abs(pictures.astype(int) - rgb_stamps(fluxes).astype(int))
    assert difference.max() <= 1


def test_the_captions_say_category_of_galaxies_and_tier_with_radius_of_lenses():
    table = scores()
    items = gallery_items(preprocess(real_stamps(6)), table)
    words = [item.lines for item in items]
    assert words[0] == ("e", "score 0.900", "ring proxy")
    assert words[1][2] == "no category"
    assert words[3] == ("b", "score 0.490", "tier A, θE 1.25″")
    assert words[4][2] == "tier B, θE unknown"
    assert all(item.lines[0] in item.alternative for item in items)


def test_pictures_stand_upright_and_zoomed():
    stamps = np.zeros((1, 3, 8, 8), dtype=np.float32)
    stamps[:, :, 7, 0] = 8.0  # y upwards: the top left corner
    picture = np.asarray(Image.open(io.BytesIO(gallery_items(stamps, scores().head(1), zoom=3)[0].png)))
    assert picture.shape == (24, 24, 3)
    assert picture[:3, :3].min() == 255
    assert picture[3:, 3:].max() < 60


def test_the_figure_shows_each_stamp_with_its_words_and_says_when_there_is_none():
    table = scores().head(4)
    stamps = preprocess(real_stamps(4))
    figure = error_gallery(stamps, table, title="false positives", columns=3)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 4
    assert shown[0].get_title() == "e\nscore 0.900\nring proxy"
    assert (shown[2].images[0].get_array() == stamp_pictures(stamps)[2]).all()
    assert shown[0].images[0].origin == "lower"
    empty = error_gallery(stamps[:0], table.head(0), title="false negatives")
    assert empty.get_suptitle() == "false negatives: none in this sample"


def test_galleries_take_each_rows_own_stamp_and_say_how_many_there_are():
    table = scores()
    stamps = np.zeros((6, 3, 8, 8), dtype=np.float32)
    stamps += np.arange(6)[:, None, None, None]
    positives, negatives = error_galleries(stamps, table, threshold=0.5, n=2)
    expected = gallery_items(stamps[[1, 0]], table.iloc[[1, 0]])
    assert [item.png for item in positives.items] == [item.png for item in expected]
    assert "The 2 of 3 with the highest scores" in positives.caption
    assert [item.lines[0] for item in negatives.items] == ["a", "b"]
    none, _ = error_galleries(stamps, table, threshold=0.99)
    assert (none.items, none.caption) == ((), "None in this sample.")


def test_stamps_of_other_rows_and_tables_without_scores_are_refused():
    with pytest.raises(CatalogueError, match="3 stamps for 2 rows"):
        gallery_items(np.zeros((3, 3, 8, 8)), scores().head(2))
    with pytest.raises(CatalogueError, match="lack columns score"):
        worst_errors(scores().drop(columns="score"), threshold=0.5)
    with pytest.raises(CatalogueError, match="scale has shape"):
        stamp_pictures(np.zeros((2, 3, 8, 8)), scale=np.ones(3))
