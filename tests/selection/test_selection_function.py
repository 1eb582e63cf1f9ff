"""The published product survives its files and answers inside its envelope only."""

import hashlib
import itertools

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError, SelectionEnvelopeError
from skytrace.selection.completeness import CompletenessOptions, completeness_table
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.selection_function import SelectionFunction
from skytrace.statistics import LEVELS, beta_interval

GRID = SelectionGrid(GridOptions())
METADATA = {
    "survey": "mock",
    "detector": "resnet18",
    "verdict": "NO-GO",
    "threshold_default": 0.5,
    "detector_hash": "ab12",
}
METADATA |= {f"{axis}_definition": words for axis, words in GRID.definitions().items()}


@pytest.fixture(scope="module")
def selection() -> SelectionFunction:
    """All 385 cells, two thresholds; the worst condition is empty, the one before has 20 injections a cell."""
    cells = GRID.cells()
    count = np.where(cells["cell"] % 35 == 34, 0, np.where(cells["cell"] % 35 == 33, 20, 200))
    cell = np.repeat(cells["cell"].to_numpy(), count)
    number = np.arange(len(cell))
    sample = pd.DataFrame(
        {
            "cell": cell, "galaxy_id": [f"h{i % 50}" for i in number],
            "mode": np.where(cell % 35 == 33, "degraded", "matched"), "score": (number * 0.754877666) % 1.0,
        }
    )  # fmt: skip
    table = completeness_table(sample, GRID, options=CompletenessOptions((0.5, 0.9)))
    return SelectionFunction.from_table(table, metadata=METADATA)


def test_the_answer_is_the_row_of_the_cell(selection):
    answer = selection.probability(theta_e=1.2, psf_fwhm=1.1, depth=23.5)
    table = selection.table
    row = table[
        (table["theta_e"] == 1.25)
        & (table["psf_fwhm"] == 1.05)
        & (table["depth"] == 23.5)
        & (table["threshold"] == 0.5)
    ].iloc[0]
    assert (answer.value, answer.low, answer.high) == (row["completeness"], row["low68"], row["high68"])
    assert (answer.low_hosts, answer.high_hosts) == (row["low68_hosts"], row["high68_hosts"])
    assert (answer.n, answer.n_hosts, answer.state, answer.mode, answer.sufficient) == (200, 50, "ok", "matched", True)
    assert isinstance(answer.value, float) and isinstance(answer.n, int) and answer.validated is False


def test_every_centre_finds_its_own_cell(selection):
    cells = GRID.cells()
    answer = selection.probability(
        theta_e=cells["theta_e"], psf_fwhm=cells["psf_fwhm"], depth=cells["depth"], empty="nan"
    )
    np.testing.assert_array_equal(answer.value, selection.table["completeness"][: len(cells)])
    assert answer.sufficient.sum() == 33 * 11 and (answer.state == "no_hosts").sum() == 11
    assert (answer.mode[answer.state == "insufficient"] == "degraded").all()


def test_arrays_broadcast_and_keep_their_shape(selection):
    answer = selection.probability(theta_e=np.array([[0.6], [2.0]]), psf_fwhm=[1.0, 1.3, 1.6], depth=23.0)
    assert answer.value.shape == answer.state.shape == (2, 3)
    one = selection.probability(theta_e=2.0, psf_fwhm=1.3, depth=23.0)
    assert answer.value[1, 1] == one.value


def test_other_thresholds_are_other_surfaces(selection):
    loose, strict = (selection.probability(theta_e=1.0, psf_fwhm=1.2, depth=23, threshold=t) for t in (0.5, 0.9))
    assert loose.value > strict.value and strict.threshold == 0.9
    with pytest.raises(SelectionEnvelopeError, match=r"threshold = 0.7 was not measured; there are 0.5, 0.9"):
        selection.probability(theta_e=1.0, psf_fwhm=1.2, depth=23, threshold=0.7)


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"theta_e": 0.37}, r"theta_e = 0.37 arcsec is outside the measured range \[0.375, 3.125\)"),
        ({"theta_e": 3.125}, "theta_e = 3.125"),
        ({"psf_fwhm": 2.0}, r"psf_fwhm = 2 arcsec is outside the measured range \[0.825, 1.875\)"),
        ({"depth": 25.0}, r"depth = 25 AB mag is outside the measured range \[22.25, 24.75\)"),
        ({"depth": np.nan}, "depth = nan"),
        ({"theta_e": [1.0, 5.0, 6.0]}, r"theta_e = 5 arcsec \(and 1 more\)"),
    ],
)
def test_outside_the_envelope_is_an_error_that_names_value_and_range(selection, asked, words):
    with pytest.raises(SelectionEnvelopeError, match=words):
        selection.probability(**{"theta_e": 1.0, "psf_fwhm": 1.2, "depth": 23.5, **asked})


def test_every_axis_outside_is_named_at_once(selection):
    with pytest.raises(SelectionEnvelopeError, match=r"theta_e = 9.*; psf_fwhm = 9.*; depth = 9"):
        selection.probability(theta_e=9, psf_fwhm=9, depth=9)


def test_an_empty_cell_is_an_error_or_nan_as_asked(selection):
    where = {"theta_e": 1.0, "psf_fwhm": 1.8, "depth": 24.5}
    with pytest.raises(SelectionEnvelopeError, match=r"psf_fwhm = 1.8, depth = 24.5 has no injections"):
        selection.probability(**where)
    answer = selection.probability(**where, empty="nan")
    assert np.isnan(answer.value) and np.isnan(answer.high) and not answer.sufficient
    assert (answer.n, answer.state, answer.mode) == (0, "no_hosts", "none")
    with pytest.raises(OptionError, match="empty"):
        selection.probability(**where, empty="zero")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_files_give_back_every_number_and_the_metadata_that_matter(selection, tmp_path, suffix):
    path = tmp_path / f"selection_function.{suffix}"
    getattr(selection, f"to_{suffix}")(path)
    loaded = SelectionFunction.load(path)
    pd.testing.assert_frame_equal(loaded.table, selection.table, check_dtype=suffix == "parquet")
    for key in (
        "survey",
        "detector",
        "detector_hash",
        "verdict",
        "validated",
        "threshold_default",
        "psf_fwhm_definition",
        "theta_e_definition",
    ):
        assert loaded.metadata[key] == selection.metadata[key]
    if suffix == "parquet":
        assert loaded.metadata == selection.metadata
    assert repr(loaded) == repr(selection)
    assert loaded.probability(theta_e=2.5, psf_fwhm=0.9, depth=24).value == pytest.approx(
        selection.probability(theta_e=2.5, psf_fwhm=0.9, depth=24).value, abs=0
    )


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_files_are_byte_stable(selection, tmp_path, suffix):
    digests = set()
    for name in ("a", "b"):
        path = tmp_path / f"{name}.{suffix}"
        again = SelectionFunction.from_table(selection.to_table())
        getattr(again, f"to_{suffix}")(path)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_metadata_survive_the_catalogs_parquet_and_csv(selection, tmp_path):
    datasets = pytest.importorskip("kedro_datasets.pandas")
    parquet = datasets.ParquetDataset(
        filepath=str(tmp_path / "a.parquet"), save_args={"compression": "zstd", "index": False}
    )
    parquet.save(selection.to_table())
    assert SelectionFunction.from_table(parquet.load()).metadata == selection.metadata
    table = datasets.CSVDataset(filepath=str(tmp_path / "a.csv"), save_args={"index": False})
    table.save(selection.to_table())
    assert SelectionFunction.load(tmp_path / "a.csv").metadata["verdict"] == "NO-GO"


def test_a_folder_of_versions_gives_the_newest(selection, tmp_path):
    folder = tmp_path / "selection_function.parquet"
    for version, verdict in (("0001", "NO-GO"), ("2026-11-21T04.00.00.000Z", "GO")):
        again = SelectionFunction.from_table(selection.to_table(), metadata={"verdict": verdict})
        again.to_parquet(folder / version / folder.name)
    assert SelectionFunction.load(folder).metadata["verdict"] == "GO"


def test_only_the_verdict_go_validates(selection):
    for verdict, validated in (("GO", True), ("NO-GO", False), ("INSUFFICIENT", False)):
        again = SelectionFunction.from_table(selection.table, metadata={"verdict": verdict, "validated": True})
        assert again.validated is validated
    assert not SelectionFunction.from_table(selection.table).validated
    assert "NOT validated" in repr(selection) and "352 ok" not in repr(selection) and "363 ok" in repr(selection)


def test_a_table_that_is_no_selection_function_is_refused(selection, tmp_path):
    with pytest.raises(CatalogueError, match="lacks n_hosts"):
        SelectionFunction.from_table(selection.table.drop(columns="n_hosts"))
    with pytest.raises(CatalogueError, match="twice"):
        SelectionFunction.from_table(pd.concat([selection.table, selection.table]))
    with pytest.raises(CatalogueError, match=r"\.parquet or \.csv"):
        SelectionFunction.load(tmp_path / "a.txt")


def test_a_file_that_was_cut_off_or_edited_is_refused_with_its_name(selection, tmp_path):
    path = tmp_path / "selection_function.csv"
    selection.to_csv(path)
    text = path.read_text()
    for share, words in ((0.3, "cut off"), (0.7, "cut off")):
        # whole lines of one threshold, then half of a line
        lines = text.splitlines(keepends=True)
        cut = tmp_path / f"cut{share}.csv"
        cut.write_text("".join(lines[: int(share * len(lines))]))
        with pytest.raises(CatalogueError, match=rf"cut{share}.csv.*{words}"):
            SelectionFunction.load(cut)
    torn = tmp_path / "torn.csv"
    torn.write_text("".join(text.splitlines(keepends=True)[:2])[:-60])  # one row, and that torn
    with pytest.raises(CatalogueError, match=r"torn\.csv"):
        SelectionFunction.load(torn)
    for change, words in (
        ({"completeness": 1.5}, "column completeness, row 3, .*: 1.5 must be n_detected / n"),
        ({"high68_hosts": np.nan}, "column high68_hosts, row 3: nan must be a number where n > 0"),
        ({"n_detected": 900}, "column n_detected, row 3, n = 200: 900 must be 0 to n"),
        ({"n": -1}, "column n, row 3: -1 must be a count"),
        ({"n": 2.5}, "column n, row 3: 2.5 must be a count"),
        ({"n": "many"}, "column n, row 3: 'many' must be a number"),
        ({"theta_e": "wide"}, "column theta_e, row 3: 'wide' must be a number"),
        ({"threshold": 7.0}, "column threshold, row 3: 7 must be above 0 and below 1"),
        ({"low68": 5.0, "high68": 9.0}, "column low68, row 3, completeness = .*: 5 must be 0 to completeness"),
        ({"high68": 9.0}, "column high68, row 3, .*: 9 must be completeness to 1"),
        ({"low68": -0.1}, "column low68, row 3, .*: -0.1 must be 0 to completeness"),
        ({"low68_hosts": 0.9, "high68_hosts": 0.1}, "column low68_hosts, row 3, .*: 0.9 must be 0 to"),
        ({"high68_hosts": 0.1}, "column high68_hosts, row 3, .*: 0.1 must be completeness to 1"),
        ({"low95": 0.499}, "column low95, row 3, .*: 0.499 must be at most low68"),
        ({"n_effective": 0.0}, "column n_effective, row 3, n = 200: 0 must be above 0, at most n"),
        ({"n_effective": 20_000.0}, "column n_effective, row 3, n = 200: 20000 must be"),
        ({"n_hosts": 0}, "column n_hosts, row 3, n = 200: 0 must be 1 to n"),
        ({"n_hosts": 400}, "column n_hosts, row 3, n = 200: 400 must be 1 to n"),
        ({"state": "OK"}, "column state, row 3: 'OK' must be one of ok, insufficient, no_hosts, merged"),
        ({"state": "no_hosts"}, "column state, row 3, n = 200: 'no_hosts' must be not no_hosts"),
        ({"mode": "foo"}, "column mode, row 3: 'foo' must be one of matched, degraded, none"),
        ({"sufficient": False}, "column sufficient, row 3, state = 'ok': False must be what the state says"),
        ({"sufficient": "yes"}, "column sufficient, row 3: 'yes' must be True or False"),
        ({"verdict": "GO"}, "column verdict, row 3: 'GO' must be 'NO-GO' as in row 0"),
        ({"survey": np.nan}, "column survey, row 3: nan must be 'mock' as in row 0"),
    ):
        table = selection.to_table().astype(dict.fromkeys(change, object))
        table.loc[3, list(change)] = list(change.values())
        table.to_csv(path, index=False)
        with pytest.raises(CatalogueError, match=f"selection_function.csv: .*{words}"):
            SelectionFunction.load(path)
    for change, words in (
        ({"threshold_default": "x"}, "threshold_default = 'x' must be one of the file's thresholds, 0.5, 0.9"),
        ({"threshold_default": 0.7}, "threshold_default = 0.7 must be one of the file's thresholds, 0.5, 0.9"),
        ({"verdict": "MAYBE"}, "verdict = 'MAYBE' must be one of GO, NO-GO, INSUFFICIENT"),
        ({"validated": True}, "validated says True where verdict is 'NO-GO'"),
    ):
        selection.to_table().assign(**change).to_csv(path, index=False)
        with pytest.raises(CatalogueError, match=f"selection_function.csv: .*{words}"):
            SelectionFunction.load(path)
    for name, content in (("empty.csv", b""), ("noise.csv", bytes(range(256))), ("noise.parquet", b"PAR1junk")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CatalogueError, match=name):
            SelectionFunction.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        SelectionFunction.load(tmp_path / "none.csv")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("column, value, words", [("depth", 22.5, "4 depth"), ("threshold", 0.9, "1 threshold")])
def test_a_file_that_lost_a_whole_bin_or_threshold_is_refused(selection, tmp_path, suffix, column, value, words):
    path = tmp_path / f"part.{suffix}"
    whole = selection.to_table()
    assert selection.metadata["grid_shape"] == "2 threshold x 11 theta_e x 7 psf_fwhm x 5 depth"
    part = whole[whole[column] != value].reset_index(drop=True)
    part.attrs = whole.attrs
    part.to_parquet(path) if suffix == "parquet" else part.to_csv(path, index=False)
    with pytest.raises(CatalogueError, match=rf"part\.{suffix}: grid_shape is '2 threshold x 11.*{words}.*cut off"):
        SelectionFunction.load(path)
    # one who takes a part on purpose gets the surface of that part
    assert words in SelectionFunction.from_table(part).metadata["grid_shape"]


def test_parquet_columns_and_metadata_that_disagree_are_refused(selection, tmp_path):
    table = selection.to_table()
    kept = table.attrs
    table = table.assign(verdict="GO", validated=True)
    table.attrs = kept
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(CatalogueError, match=r"a\.parquet: .*verdict says 'GO', the file's metadata 'NO-GO'"):
        SelectionFunction.load(tmp_path / "a.parquet")


def test_every_jeffreys_interval_passes_whatever_the_share_of_hosts():
    n = np.repeat([1, 2, 7, 200], 4)
    rows = pd.DataFrame({"n": n, "n_detected": np.ravel([[0, m // 3, m - m // 3, m] for m in (1, 2, 7, 200)])})
    share = rows["n_detected"] / n
    for effect in (1.0, 1.7, 30.0):
        trials = n / effect
        table = rows.assign(
            completeness=share, n_effective=trials, n_hosts=1, threshold=0.5, mode="matched", state="ok"
        )
        for level in ("68", "95"):
            for of, k, of_n in (("", rows["n_detected"], n), ("_hosts", share * trials, trials)):
                table[f"low{level}{of}"], table[f"high{level}{of}"] = beta_interval(k, of_n, LEVELS[level])
        places = list(itertools.product((1.0, 1.25), (0.9, 1.05), (22.5, 23.0, 23.5, 24.0)))
        table[["theta_e", "psf_fwhm", "depth"]] = places
        assert len(SelectionFunction.from_table(table).table) == 16


def test_cells_left_out_of_a_file_count_as_empty(selection):
    keep = ~((selection.table["theta_e"] == 1.0) & (selection.table["depth"] == 23.0))
    part = SelectionFunction.from_table(selection.table[keep])
    for theta, depth in itertools.product((1.0, 1.25), (23.0, 23.5)):
        answer = part.probability(theta_e=theta, psf_fwhm=1.2, depth=depth, empty="nan")
        assert (answer.n == 0) == ((theta, depth) == (1.0, 23.0))
