"""DR10 out of a HATS catalogue: the galaxies, lenses and hosts of the sweeps it was made from."""

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions
from skytrace.datasets import LegacySurveyDataset
from skytrace.errors import OptionError, SurveyError
from skytrace.imaging import PreprocessOptions
from skytrace.imaging.quality import QualityOptions
from skytrace.pipelines.injection_recovery.nodes import choose_hosts
from skytrace.selection.grid import GridOptions
from skytrace.selection.hosts import HostOptions
from skytrace.sky import SelectionOptions
from skytrace.surveys.legacy_survey import LegacySurvey
from skytrace.surveys.mock import MockSurvey, MockSurveyOptions
from skytrace.surveys.selected import selected_galaxies
from tests.surveys.hats_files import write_hats
from tests.surveys.legacy_files import sweep_rows, write_sweep

pytest.importorskip("lsdb", reason="LSDB is not installed: `make setup` installs the packages of requirements.lock")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root with one sweep, the same rows in HATS, and three published lenses."""
    folder = tmp_path_factory.mktemp("root")
    rows = sweep_rows(400, ra=149.6, dec=0.001, step=0.004)  # across borders of cells on the equator
    rows["flux_z"] = rows["flux_z"].where(np.arange(400) % 7 > 0, np.float32(1.0))
    write_sweep(folder / "legacy_survey/sweeps/sweep.fits", rows)
    write_hats(rows, folder / "legacy_survey/hats", order=3)
    at = rows.iloc[[10, 201, 300]]
    lenses = pd.DataFrame(
        {
            "system_id": ["a", "b", "c"], "name": ["a", "b", "c"], "ra": at["ra"].to_numpy(),
            "dec": at["dec"].to_numpy() + 0.3 / 3600.0, "grade": ["confident", "A", "B"], "lens_type": "galaxy",
            "theta_e_arcsec": 1.4, "cluster_survey_only": False, "discovery": "made up", "reference": "made up",
        }
    )  # fmt: skip
    path = folder / "imaging/catalogs/lens_catalog.parquet"
    path.parent.mkdir(parents=True)
    lenses.to_parquet(path)
    return folder


@pytest.fixture
def surveys(root, monkeypatch):
    """(from sweeps, from HATS)."""
    monkeypatch.setenv("SKYTRACE_DATA", str(root))
    options = {"route": "bricks", "mag_z_limit": 21.0}
    return LegacySurvey(options), LegacySurvey({**options, "hats": "legacy_survey/hats"})


def _sorted(table):
    return table.sort_values("galaxy_id", ignore_index=True)


def test_galaxies_are_those_of_the_sweeps_value_for_value(surveys):
    sweeps, hats = surveys
    assert len(sweeps.galaxies()) == 400 - len(range(0, 400, 7))
    pd.testing.assert_frame_equal(_sorted(hats.galaxies()), _sorted(sweeps.galaxies()), check_exact=True)


def test_lenses_are_those_of_the_sweeps_without_the_whole_table(surveys, monkeypatch):
    sweeps, hats = surveys
    theirs = sweeps.lenses()
    assert list(theirs["galaxy_id"]) == ["10000-333333-17", "10000-333333-208", "10000-333333-307"]
    monkeypatch.setattr(LegacySurvey, "_galaxies", property(lambda self: pytest.fail("the whole table was read")))
    pd.testing.assert_frame_equal(hats.lenses(), theirs, check_exact=True)


def test_the_selection_is_that_of_the_sweeps_on_two_processes(surveys, tmp_path):
    sweeps, hats = surveys
    theirs, ledger = selected_galaxies(sweeps, options=SelectionOptions())
    cluster = ClusterOptions(cluster="local", workers=2)
    ours, ours_ledger = selected_galaxies(hats, options=SelectionOptions(), cluster=cluster, folder=tmp_path)
    pd.testing.assert_frame_equal(_sorted(ours), _sorted(theirs), check_exact=True)
    pd.testing.assert_frame_equal(ours_ledger, ledger, check_exact=True)
    assert ledger.set_index("filter").loc["type", "removed"] > 0


def test_places_of_cutouts_are_looked_up_by_identifier_once(surveys, monkeypatch):
    sweeps, hats = surveys
    ids = sweeps.galaxies()["galaxy_id"].iloc[[50, 3, 120]].tolist()
    hats.expect(ids)
    monkeypatch.setattr(type(hats.catalogue), "rows_of", lambda *_: pytest.fail("the identifiers were read again"))
    pd.testing.assert_frame_equal(hats._rows(ids), sweeps._rows(ids), check_exact=True)


def test_an_unknown_galaxy_and_a_margin_without_a_catalogue_are_named(surveys):
    with pytest.raises(SurveyError, match="legacy_survey has no galaxy 'nobody'"):
        surveys[1].expect(["nobody"])
    with pytest.raises(OptionError, match=r"hats_margin = 'm' belongs to a HATS catalogue, and hats names none"):
        LegacySurvey({"hats_margin": "m"})


def test_the_manifest_names_the_partitions_that_were_read(root, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(root))
    dataset = LegacySurveyDataset(options={"route": "bricks", "hats": "legacy_survey/hats"})
    assert dataset.exists()
    dataset.load().galaxies()
    names = [path.name for path in dataset.source_files()]
    assert names
    assert all(name.startswith("Npix=") for name in names)


def test_hosts_of_injections_are_the_same_whether_galaxies_lie_in_partitions_or_in_memory(tmp_path):
    class Partitioned:
        """The mock's pixels and lenses, its galaxies in HATS."""

        def __init__(self, mock, catalogue):
            self.name, self.lenses, self.cutouts, self.catalogue = mock.name, mock.lenses, mock.cutouts, catalogue

        def galaxies(self):
            raise AssertionError("the whole table was asked for")

    from skytrace.surveys.hats_catalogue import open_hats

    mock = MockSurvey(tmp_path / "mock", MockSurveyOptions(n_galaxies=240, shard_size=80, threads=1))
    mock.make()
    catalogue = open_hats(write_hats(mock.galaxies(), tmp_path / "hats", order=1))
    split = mock.galaxies()[["galaxy_id", "ra", "dec"]].assign(split="test")
    hosts = HostOptions(host_splits="any", min_matched_hosts=1)
    options = (SelectionOptions(dec_min_deg=-90.0, dec_max_deg=90.0), hosts, GridOptions(), PreprocessOptions(),
               QualityOptions())  # fmt: skip
    theirs = choose_hosts(mock, split, *options)
    ours = choose_hosts(Partitioned(mock, catalogue), split, *options, ClusterOptions(workers=1), str(tmp_path / "s"))
    brickless = [column for column in ours[0].columns if column != "brickname"]
    wide = theirs[0].astype({"maskbits": "int64"})  # the mock holds 32 bits, a sweep and HATS 64
    pd.testing.assert_frame_equal(ours[0][brickless], wide, check_exact=True)
    pd.testing.assert_frame_equal(ours[1], theirs[1], check_exact=True)
    assert {**ours[2], "note": ""} == {**theirs[2], "note": ""}
    assert len(theirs[0]) > 20
