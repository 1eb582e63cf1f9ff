"""Which candidates are modelled, what is said of their models, and that nothing of it reaches the ranking."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skytrace.clusters.modelling_options import ClusterLensOptions, FreeFormOptions, LensSamplerOptions
from skytrace.compute import ClusterOptions, fingerprint
from skytrace.errors import OptionError, ShardError
from skytrace.pipeline_registry import create_lineage
from skytrace.pipelines.cluster_modelling.nodes import (
    _is_whole,
    _read_system,
    check_models,
    choose_systems,
    draw_systems,
    fit_systems,
)
from skytrace.pipelines.cluster_modelling.options import SystemOptions
from skytrace.surveys.clusters.identified import IDENTIFIED_COLUMNS, MEMBER_COLUMNS

OPTIONS = SystemOptions("models", candidates=5, least_families=2, least_images=5, most_systems=1)


class Identified:
    """Images of four clusters: of two families, of one, of two again, none."""

    def __init__(self, **sizes):
        self.sizes = sizes or {"a": (3, 2), "b": (4,), "c": (3, 3), "known": (4, 4)}

    def images(self, cluster_ids):
        rows = [
            (name, family, 10.0 * np.cos(k), 10.0 * np.sin(k), 0.1, 1.0, 0.0, 0.2)
            for name in cluster_ids if name in self.sizes
            for family, n in enumerate(self.sizes[name]) for k in range(n)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(IDENTIFIED_COLUMNS))

    def members(self, cluster_ids):
        rows = [(name, 0.0, 0.0, 4.0) for name in cluster_ids]
        return pd.DataFrame(rows, columns=list(MEMBER_COLUMNS))

    def truth(self, cluster_ids, *, options):
        rows = [(name, 10.0, 1e14) for name in cluster_ids]
        return pd.DataFrame(rows, columns=["cluster_id", "einstein_radius_arcsec", "mass_msun"])


def candidates():
    names = ["b", "known", "nothing", "a", "c", "late"]
    table = pd.DataFrame({"cluster_id": names, "redshift": 0.4, "probability": np.linspace(0.9, 0.1, 6)})
    return table.assign(rank=[1, 0, 2, 3, 4, 5])


def test_the_best_candidates_with_enough_images_are_modelled_and_the_others_are_told_why_not():
    systems, images, members = choose_systems(candidates(), Identified(), OPTIONS)
    assert systems.set_index("cluster_id")["verdict"].to_dict() == {
        "b": "too few images", "nothing": "no identified images", "a": "modelled", "c": "beyond the systems asked for",
        "late": "no identified images",
    }  # fmt: skip
    assert set(images["cluster_id"]) == set(members["cluster_id"]) == {"a"}
    assert systems.set_index("cluster_id").loc["a", ["n_families", "n_images"]].to_list() == [2, 5]
    known = SystemOptions("models", candidates=2, known_lenses=True, least_images=5)
    systems, images, _ = choose_systems(candidates(), Identified(), known)
    assert systems["cluster_id"].to_list() == ["b", "known"] and set(images["cluster_id"]) == {"known"}


def models():
    return pd.DataFrame(
        {
            "cluster_id": ["a", "b", "c"], "failures": ["", "R-hat reaches 1.1", ""],
            "einstein_radius_arcsec": [10.2, 9.9, 10.5], "einstein_radius_arcsec_low": [9.9, 9.8, 10.3],
            "einstein_radius_arcsec_high": [10.4, 10.05, 10.6], "mass_msun": [1.1e14, 1e14, 0.9e14],
            "mass_msun_low": [1.05e14, 0.9e14, 0.8e14], "mass_msun_high": [1.2e14, 1.1e14, 1.05e14],
        }
    )  # fmt: skip


def test_the_report_holds_bias_and_what_the_intervals_held_of_a_simulated_sky_alone():
    report = check_models(models(), Identified(), ClusterLensOptions())
    radius = report["einstein_radius_arcsec"]
    assert radius["mean_relative_error"] == pytest.approx(0.02) and radius["inside_68"] == 2 and radius["of"] == 3
    assert radius["error_of_mean"] == pytest.approx(np.std([0.02, -0.01, 0.05], ddof=1) / np.sqrt(3))
    assert report["mass_msun"]["inside_68"] == 2 and report["converged"] == 2
    real = Identified()
    real.truth = lambda ids, options: Identified().truth([], options=options)
    assert check_models(models(), real, ClusterLensOptions()) == {
        "systems": 3, "z_reference": 2.0, "converged": 2, "truth": "none"
    }  # fmt: skip
    assert check_models(models().iloc[:0], real, ClusterLensOptions())["systems"] == 0


def test_no_node_of_the_search_reads_the_images_and_the_models_go_nowhere():
    lineage = create_lineage(("cluster_pu", "cluster_modelling"))
    readers = {node.name for node in lineage.nodes if "cluster_images" in node.inputs}
    assert readers == {"cluster_modelling.choose_systems", "cluster_modelling.check_models"}
    for node in lineage.only_nodes_with_tags("cluster_pu").nodes:
        assert not any(name.startswith("cluster_modelling") for name in node.inputs)
    told = {name for node in lineage.only_nodes_with_tags("cluster_modelling").nodes for name in node.inputs}
    assert "cluster_pu.truth" not in told and "cluster_survey" not in told


def test_options_out_of_range_are_refused():
    with pytest.raises(OptionError, match="least_images"):
        SystemOptions("models", least_images=1)


def test_without_systems_the_tables_are_empty_and_the_figure_says_so(tmp_path):
    systems, images, members = choose_systems(candidates(), Identified(elsewhere=(4, 4)), OPTIONS)
    options = SystemOptions(str(tmp_path))
    told, rows = fit_systems(
        systems, images, members, options, ClusterLensOptions(), LensSamplerOptions(), FreeFormOptions(),
        ClusterOptions(),
    )  # fmt: skip
    assert not len(told) and not len(rows) and {"cluster_id", "file"} <= set(told.columns)
    figure, _ = draw_systems(told, rows, members, options)
    assert "No candidate" in figure.axes[0].texts[0].get_text()


def test_a_model_whose_file_is_damaged_is_made_again_and_never_read(tmp_path):
    path = tmp_path / "a.json"
    text = json.dumps({"model": {"theta": 30.25}, "images": {"x": [1.5, 2.0]}, "curves": {}})
    path.write_text(json.dumps({"content": fingerprint(text), **json.loads(text)}))
    content = path.read_bytes()
    assert _is_whole(path) and _read_system(path)["model"] == {"theta": 30.25}
    for damaged in (content[:-9], content.replace(b"30.25", b"30.27"), b"[]", b"\xff" + content, text.encode()):
        path.write_bytes(damaged)
        assert not _is_whole(path)
        with pytest.raises(ShardError, match=r"a\.json .* delete it and run again"):
            _read_system(path)


@pytest.mark.slow
def test_a_mock_system_is_modelled_once_and_its_figures_agree(tmp_path):
    """Its file is read, not made again; the predicted images are within a few errors of the observed ones."""
    from skytrace.surveys.clusters.identified import MockClusterImages
    from skytrace.surveys.clusters.options import MockClusterOptions
    from skytrace.surveys.clusters.population import simulate_clusters

    mock = MockClusterOptions(n_clusters=200, lens_fraction=1.0)
    table = simulate_clusters(np.arange(12), options=mock)[["cluster_id", "redshift", "is_lens"]]
    ranked = table.assign(rank=np.arange(1, 13), probability=0.5)
    source = MockClusterImages(mock)
    options = SystemOptions(str(tmp_path), most_systems=1, emcee_steps=90, curve_cells=64)
    lens = ClusterLensOptions(
        z_reference=1.2, halo_theta_e_low_arcsec=0.5, member_theta_e_arcsec=0.55, nfw_scale_arcsec=45.0,
        halo_scale_scatter=0.6, halo_centre_sigma_arcsec=0.5, count_priors=True,
    )  # fmt: skip
    sampler = LensSamplerOptions(n_starts=6, n_chains=2, n_warmup=150, n_samples=150, n_derived=60)
    systems, images, members = choose_systems(ranked, source, options)
    arguments = systems, images, members, options, lens, sampler, FreeFormOptions(cells=12, n_draws=4), ClusterOptions()
    told, rows = fit_systems(*arguments)
    row = told.iloc[0]
    file = Path(row["file"])
    written = file.stat().st_mtime_ns
    assert fit_systems(*arguments)[0].equals(told) and file.stat().st_mtime_ns == written
    off = np.hypot(rows["x_arcsec"] - rows["predicted_x_arcsec"], rows["y_arcsec"] - rows["predicted_y_arcsec"])
    assert off.max() < 6.0 * rows["position_err_arcsec"].max()
    truth = source.truth([row["cluster_id"]], options=lens).iloc[0]
    assert row["einstein_radius_arcsec"] == pytest.approx(truth["einstein_radius_arcsec"], rel=0.05)
    assert set(json.loads(file.read_text())["curves"]) >= {"tangential", "radial"}
    assert row["einstein_radius_total_err_arcsec"] > row["systematic_arcsec"]
    assert len(draw_systems(told, rows, members, options)[0].axes) == 2
