"""Selections side by side: every deviation from the reference search is named, loads, and is counted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from skytrace.errors import CatalogueError, OptionError
from skytrace.sky import SelectionOptions, select_galaxies
from skytrace.sky.selection_parity import ParityOptions, named_selections, parity_report, selection_counts
from tests.sky.test_selection import make_galaxies, make_lenses

DEVIATIONS = (
    ("mag_z_21", "selection", {"mag_z_max": 21.0}),
    ("maskbits", "selection", {"maskbits": (1, 5, 6, 7, 11, 12, 13)}),
    ("exp_pool", "selection", {"exp_pool": True}),
    ("nobs_1", "selection", {"nobs_min": 1}),
    ("annulus_20_32", "preprocess", {"annulus_px": (20.0, 32.0)}),
    ("linear_stretch", "preprocess", {"stretch": "linear"}),
)


def _parameters(repository, params=None, env="paper_iv"):
    bootstrap_project(repository)
    with KedroSession.create(project_path=repository, env=env, runtime_params=params or {}) as session:
        return session.load_context().params["lens_finder"]


@pytest.fixture(scope="module")
def paper_iv(repository):
    return _parameters(repository)


def test_parity_mode_is_the_reference_cuts_and_nothing_else_changes(repository, paper_iv):
    base = _parameters(repository, env="base")
    reference = paper_iv["selection"]
    assert (reference.dec_min_deg, reference.dec_max_deg, reference.types) == (-18.0, 32.0, ("SER", "DEV", "REX"))
    assert (reference.nobs_min, reference.mag_z_max, reference.maskbits) == (3, 20.0, ())
    folders = {"cutouts", "checkpoint_folder"}  # its own, so that runs side by side do not mix
    assert {name for name in base if base[name] != paper_iv[name]} == {"selection"} | folders
    assert replace(paper_iv["cutouts"], scratch_folder=base["cutouts"].scratch_folder) == base["cutouts"]
    assert replace(reference, maskbits=base["selection"].maskbits) == base["selection"]


@pytest.mark.parametrize(("name", "group", "changes"), DEVIATIONS)
def test_a_recorded_deviation_changes_what_it_says_and_nothing_else(repository, paper_iv, name, group, changes):
    file = repository / "conf" / "paper_iv" / "deviations" / f"{name}.yml"
    run = yaml.safe_load(file.read_text(encoding="utf-8"))["run"]
    assert (run["env"], run["pipelines"]) == ("paper_iv", "lens_finder")
    assert str(file.relative_to(repository)) in file.read_text(encoding="utf-8")
    changed = _parameters(repository, run["params"])
    assert changed[group] == replace(paper_iv[group], **changes) != paper_iv[group]
    assert {key for key in paper_iv if changed[key] != paper_iv[key]} == {group}


def test_every_deviation_on_file_is_tested(repository):
    files = {path.stem for path in (repository / "conf" / "paper_iv" / "deviations").glob("*.yml")}
    assert files == {name for name, *_ in DEVIATIONS}


def test_counts_are_the_ledgers_and_strata_add_up():
    galaxies = make_galaxies(
        9, type={0: "PSF", 1: "DEV"}, nobs_z={2: 2, 3: 7, 4: 12}, maskbits={5: 1 << 12}, flux_z={6: 8.0}
    )
    lenses = make_lenses(("L1", "g003", galaxies["ra"][3], 2.0, "A", 1.0, False))
    counts = selection_counts(galaxies, lenses)
    _, ledger = select_galaxies(galaxies, lenses)
    pooled = counts[counts["type_bin"] == "all"].groupby(["step", "filter"])["rows"].sum()
    assert pooled[(0, "all")] == 9
    assert pooled.iloc[1:].tolist() == ledger["rows_out"].tolist()
    fine = counts[counts["type_bin"] != "all"].groupby("step")["rows"].sum()
    assert fine.tolist() == pooled.tolist()
    last = counts[(counts["filter"] == "near_lens") & (counts["type_bin"] != "all")]
    assert last.set_index(["nobs_z_bin", "type_bin", "label"])["rows"].to_dict() == {
        ("11+", "REX", 0): 1, ("3-5", "DEV", 0): 1, ("3-5", "REX", 0): 2, ("6-10", "REX", 1): 1,
    }  # fmt: skip


def test_the_report_shows_what_a_deviation_adds_stratum_by_stratum():
    galaxies = make_galaxies(6, type={0: "EXP"}, flux_z={1: 8.0}, maskbits={2: 1 << 12})
    sets = named_selections(
        SelectionOptions(),
        ParityOptions({"paper_iv": {"maskbits": []}, "mag_z_21": {"mag_z_max": 21.0}, "exp": {"exp_pool": True}}),
    )
    report = parity_report({name: selection_counts(galaxies, make_lenses(), options=o) for name, o in sets.items()})
    last = report[(report["filter"] == "near_lens") & (report["label"] == 0)].set_index("type_bin")
    differences = ["difference_paper_iv", "difference_mag_z_21", "difference_exp"]
    assert last.loc["all", ["rows_base", *differences]].tolist() == [3, 1, 1, 1]
    assert last.loc["REX", ["rows_base", *differences]].tolist() == [3, 1, 1, 0]
    assert last.loc["EXP", ["rows_base", *differences]].tolist() == [0, 0, 0, 1]
    after_mask = report[(report["filter"] == "maskbits") & (report["type_bin"] == "all") & (report["label"] == 0)]
    assert after_mask["difference_paper_iv"].tolist() == [1]
    assert report["step"].is_monotonic_increasing and (report["type_bin"].iloc[:2] == "all").all()


def test_selections_of_different_skies_and_unknown_keys_are_refused():
    counts = {name: selection_counts(make_galaxies(n), make_lenses()) for name, n in (("base", 4), ("other", 5))}
    with pytest.raises(CatalogueError, match="'other' did not start from the same galaxies"):
        parity_report(counts)
    with pytest.raises(CatalogueError, match="'base' are missing"):
        parity_report({"other": counts["other"]})
    with pytest.raises(OptionError, match=r"selections.shallow.nobs is not an option"):
        ParityOptions({"shallow": {"nobs": 1}})
    with pytest.raises(OptionError, match=r"selections.deep: mag_z_max = 40"):
        ParityOptions({"deep": {"mag_z_max": 40}})
    with pytest.raises(OptionError, match=r"selections.base"):
        ParityOptions({"base": {}})
    assert named_selections(SelectionOptions(), ParityOptions({"ring": {"confusers": {"ring_sersic": 3.0}}}))[
        "ring"
    ].confusers.ring_sersic == pytest.approx(3.0)


def test_counting_does_not_refuse_a_selection_that_leaves_nothing():
    counts = selection_counts(make_galaxies(3), make_lenses(), options=SelectionOptions(mag_z_max=12.0))
    assert counts[counts["filter"] == "mag_z"]["rows"].sum() == 0
    assert isinstance(counts, pd.DataFrame) and np.issubdtype(counts["rows"].dtype, np.integer)


def test_parity_mode_reads_the_base_runs_sky_and_writes_beside_its_results(repository):
    bootstrap_project(repository)
    paths = {}
    for env in ("base", "paper_iv"):
        with KedroSession.create(project_path=repository, env=env) as session:
            entries = session.load_context().config_loader["catalog"]
        paths[env] = {name: entries[name]["filepath"] for name in ("detector_survey", "lens_finder.filter_ledger")}
    assert paths["base"]["detector_survey"] == paths["paper_iv"]["detector_survey"]
    assert paths["base"]["lens_finder.filter_ledger"] != paths["paper_iv"]["lens_finder.filter_ledger"]
