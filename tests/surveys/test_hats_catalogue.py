"""A HATS catalogue, selected a partition at a time, gives what the whole table gives in memory, value for value."""

import dataclasses
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions
from skytrace.errors import CatalogueError, OptionError, SurveyError
from skytrace.sky import SelectionOptions, StrataOptions, crossmatch, healpix_cell, stratify, stratify_chunks
from skytrace.sky.confusers import confuser_categories
from skytrace.sky.selection import select_galaxies
from skytrace.surveys.hats_catalogue import open_hats
from skytrace.surveys.selected import galaxies_of, select_in_partitions, selected_galaxies
from tests.surveys.hats_files import ORDER, border_pairs, galaxies, write_hats

pytest.importorskip("lsdb", reason="LSDB is not installed: `make setup` installs the packages of requirements.lock")

WHOLE_SKY = SelectionOptions(dec_min_deg=-90.0, dec_max_deg=90.0)
INLINE = ClusterOptions(workers=1)


def _lenses(table):
    """A lens at one galaxy of every fourth border pair, a candidate without a galaxy, and one at the pole."""
    ra, dec = border_pairs()
    names = table.set_index(["ra", "dec"])["galaxy_id"]
    half = (len(ra) - 6) // 2
    at = [*range(0, half, 4), len(ra) - 6]
    rows = [(names[ra[k], dec[k]], ra[k], dec[k], "A" if k % 8 else "B") for k in at]
    rows.append(("", ra[1], dec[1], "B"))
    lenses = pd.DataFrame(rows, columns=["galaxy_id", "ra", "dec", "tier"])
    return lenses.assign(
        lens_id=[f"l{k}" for k in range(len(lenses))], theta_e_arcsec=1.5, is_anchor=lenses["tier"] == "A"
    )


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """(folder, galaxies, lenses)."""
    table = galaxies()
    return write_hats(table, tmp_path_factory.mktemp("hats") / "sky", order=ORDER), table, _lenses(table)


@pytest.fixture(scope="module")
def catalogue(sky):
    return open_hats(sky[0])


@pytest.fixture(scope="module")
def in_memory(sky, catalogue):
    return select_galaxies(catalogue.galaxies(), sky[2], options=WHOLE_SKY)


def _same(ours, theirs):
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_every_row_comes_back_once_with_the_values_that_were_written(sky, catalogue):
    ours = catalogue.galaxies().drop(columns="brickname").sort_values("galaxy_id", ignore_index=True)
    theirs = sky[1].sort_values("galaxy_id", ignore_index=True)
    _same(ours, theirs.astype({"galaxy_id": str, "type": str}))
    assert len(catalogue.partitions) == 12 * 4**ORDER
    assert catalogue.margin_arcsec == 10.0


def test_partitions_give_the_sample_and_ledger_of_the_whole_table(tmp_path, sky, catalogue, in_memory):
    found = select_in_partitions(catalogue, sky[2], options=WHOLE_SKY, cluster=INLINE, folder=tmp_path)
    sample, ledger = found.joined()
    _same(sample, in_memory[0])
    _same(ledger, in_memory[1])
    assert 1000 < len(sample) < len(sky[1])


def test_two_processes_give_the_bytes_of_one(tmp_path, sky, catalogue):
    few = dataclasses.replace(catalogue, partitions=catalogue.partitions[:8])
    lenses = sky[2].iloc[-1:]
    kept = [
        select_in_partitions(few, lenses, options=WHOLE_SKY, cluster=cluster, folder=tmp_path / cluster.cluster)
        for cluster in (INLINE, ClusterOptions(cluster="local", workers=2))
    ]
    one, two = ([shard.path.read_bytes() for shard in found.shards] for found in kept)
    assert one == two


def test_a_lens_excludes_its_neighbour_across_a_border_and_at_the_pole(sky, catalogue, in_memory):
    table, lenses = sky[1], sky[2]
    index, separation = crossmatch(table["ra"], table["dec"], lenses["ra"], lenses["dec"], 11.0)
    near = table[(index >= 0) & (separation > 1.0)]
    apart = healpix_cell(near["ra"], near["dec"], nside=2**ORDER) != healpix_cell(
        lenses["ra"].iloc[index[near.index]], lenses["dec"].iloc[index[near.index]], nside=2**ORDER
    )
    assert apart.sum() >= 10, "the made-up sky has no exclusion across a border"
    assert (np.abs(near["dec"][apart]) > 89.99).any(), "nor at a pole"
    named = set(lenses["galaxy_id"])
    for name in near["galaxy_id"][apart]:
        assert name in named or name not in set(in_memory[0]["galaxy_id"])


def test_companions_across_borders_corners_and_poles_are_known_and_without_margins_they_are_not(
    tmp_path, sky, catalogue, in_memory
):
    nobody = sky[2].iloc[:0]
    whole, _ = select_galaxies(catalogue.galaxies(), nobody, options=WHOLE_SKY)
    sample, _ = select_in_partitions(catalogue, nobody, options=WHOLE_SKY, cluster=INLINE, folder=tmp_path).joined()
    _same(sample, whole)
    pairs = sample[sample["flux_r"] == 20.0]
    assert pairs["merger_proxy"].all()
    assert len(pairs) == len(border_pairs()[0])
    alone = pd.concat([confuser_categories(part) for part in catalogue.chunks()])
    assert alone["merger_proxy"].sum() < 0.6 * whole["merger_proxy"].sum(), "the borders are not where it is hard"


def test_strata_of_the_partitions_are_those_of_the_table(tmp_path, sky, catalogue, in_memory):
    options = StrataOptions(negatives_per_positive=5.0, seed=8)
    found = select_in_partitions(catalogue, sky[2], options=WHOLE_SKY, cluster=INLINE, folder=tmp_path)
    for ours, theirs in zip(
        stratify_chunks(found, options=options), stratify(in_memory[0], options=options), strict=True
    ):
        _same(ours, theirs)


def test_another_division_of_the_sky_changes_nothing(tmp_path, sky, in_memory):
    other = open_hats(write_hats(sky[1], tmp_path / "finer", order=ORDER, rows=100))
    assert len({partition.order for partition in other.partitions}) > 1, "one order only"
    sample, ledger = select_in_partitions(
        other, sky[2], options=WHOLE_SKY, cluster=INLINE, folder=tmp_path / "shards"
    ).joined()
    _same(ledger, in_memory[1])
    _same(sample.sort_values("galaxy_id", ignore_index=True), in_memory[0].sort_values("galaxy_id", ignore_index=True))


def test_galaxies_near_positions_are_those_of_brute_force(sky, catalogue):
    table, lenses = sky[1], sky[2]
    found = catalogue.near(lenses["ra"], lenses["dec"], 5.0)
    index, _ = crossmatch(table["ra"], table["dec"], lenses["ra"], lenses["dec"], 5.0)
    assert sorted(found["galaxy_id"]) == sorted(table["galaxy_id"][index >= 0])
    assert len(found) > len(lenses)


def test_rows_are_found_by_identifier(sky, catalogue):
    wanted = sky[1]["galaxy_id"].iloc[[5, 900, 3000]].tolist()
    found = catalogue.rows_of([*wanted, "nobody"]).set_index("galaxy_id")
    assert sorted(found.index) == sorted(wanted)
    assert found.loc[wanted, "flux_g"].tolist() == sky[1]["flux_g"].iloc[[5, 900, 3000]].tolist()


def test_limits_are_those_of_sweeps(sky):
    limited = open_hats(sky[0], mag_z_limit=20.0, sky_box_deg=(300.0, 60.0, -30.0, 90.0)).galaxies()
    table = sky[1]
    keep = (table["flux_z"] > 10.0) & ((table["ra"] >= 300) | (table["ra"] <= 60)) & (table["dec"] >= -30.0)
    assert sorted(limited["galaxy_id"]) == sorted(table["galaxy_id"][keep])


def test_a_survey_with_a_catalogue_is_selected_in_partitions(sky, catalogue, in_memory):
    class Survey:
        name = "made up"

        def __init__(self):
            self.catalogue = catalogue

        def lenses(self):
            return sky[2]

        def galaxies(self):
            raise AssertionError("the whole table was asked for")

    _same(selected_galaxies(Survey(), options=WHOLE_SKY)[0], in_memory[0])
    assert galaxies_of(Survey(), ["g000007"])["galaxy_id"].tolist() == ["g000007"]
    with pytest.raises(OptionError, match=r"tcp://host:1' needs a folder .* all workers see"):
        selected_galaxies(Survey(), cluster=ClusterOptions(cluster="tcp://host:1"))


def test_a_damaged_shard_is_computed_again_and_finished_ones_stay(tmp_path, sky, catalogue, in_memory):
    first = select_in_partitions(catalogue, sky[2], options=WHOLE_SKY, cluster=INLINE, folder=tmp_path)
    content, kept = first.shards[3].path.read_bytes(), first.shards[4].path.stat().st_mtime_ns
    first.shards[3].path.write_bytes(content[:-200])
    again = select_in_partitions(catalogue, sky[2], options=WHOLE_SKY, cluster=INLINE, folder=tmp_path)
    assert again.shards[3].path.read_bytes() == content
    assert again.shards[4].path.stat().st_mtime_ns == kept


def test_the_catalogue_travels_to_workers_in_a_few_kilobytes_a_partition(catalogue):
    assert len(pickle.dumps(catalogue)) < 1000 * len(catalogue.partitions)


def test_a_folder_that_is_no_hats_catalogue_is_named(tmp_path):
    with pytest.raises(SurveyError, match=r"is no HATS catalogue .*hats\.properties .* docs/scale\.md"):
        open_hats(tmp_path)
    with pytest.raises(SurveyError, match=r"no folder .*/absent"):
        open_hats(tmp_path / "absent")


def test_all_missing_columns_are_named(tmp_path, sky):
    folder = write_hats(sky[1].head(300).drop(columns=["ebv", "flux_z", "galaxy_id"]), tmp_path / "less")
    with pytest.raises(CatalogueError, match=r"lacks columns release, brickid, objid, flux_z, ebv \(or galaxy_id in"):
        open_hats(folder)


def test_identifiers_are_made_of_release_brick_and_object(tmp_path, sky):
    table = sky[1].head(300).drop(columns="galaxy_id").assign(RELEASE=10000, BRICKID=np.arange(300), OBJID=7)
    found = open_hats(write_hats(table, tmp_path / "tractor")).galaxies()
    assert sorted(found["galaxy_id"]) == sorted(f"10000-{k}-7" for k in range(300))


def test_other_units_are_refused_by_name(tmp_path, sky):
    maggies = open_hats(write_hats(sky[1].assign(flux_r=sky[1]["flux_r"] * 1e-9), tmp_path / "maggies"))
    with pytest.raises(
        CatalogueError, match=r"Npix=\d+\.parquet has a median r magnitude of 4\d\.\d: flux_r is not in"
    ):
        maggies.galaxies()


def test_positions_in_radians_do_not_lie_in_their_cells(tmp_path, sky, catalogue):
    folder = tmp_path / "radians"
    shutil.copytree(sky[0], folder)
    copy = open_hats(folder)
    part = copy.partitions[30]  # of ORDER
    table = pd.read_parquet(part.file, partitioning=None)
    table.assign(ra=np.radians(table["ra"]), dec=np.radians(table["dec"])).to_parquet(part.file)
    with pytest.raises(CatalogueError, match=r"rows of .*Npix=30\.parquet do not lie in its cell \(Norder=1-Npix=30\)"):
        copy.read(part)


def test_margins_that_are_too_narrow_or_absent_are_refused(tmp_path, sky):
    narrow = open_hats(write_hats(sky[1].head(400), tmp_path / "narrow", margin_arcsec=5.0))
    with pytest.raises(CatalogueError, match=r'has margins of 5", and neighbours count to 6"'):
        select_in_partitions(narrow, sky[2], cluster=INLINE, folder=tmp_path)
    bare = dataclasses.replace(narrow, margin_arcsec=0.0)
    with pytest.raises(CatalogueError, match=r"has no margins, and neighbours count"):
        select_in_partitions(bare, sky[2], cluster=INLINE, folder=tmp_path)


def test_a_lens_of_an_unknown_galaxy_and_a_repeated_galaxy_are_named(tmp_path, sky, catalogue):
    lenses = sky[2].assign(galaxy_id=["nobody", *sky[2]["galaxy_id"].iloc[1:]])
    with pytest.raises(CatalogueError, match=r"1 lens\(es\) name an unknown galaxy, the first 'nobody'"):
        select_in_partitions(catalogue, lenses, options=WHOLE_SKY, cluster=INLINE, folder=tmp_path)
    table = sky[1].head(600)
    twice = table.assign(galaxy_id=["same" if k % 2 else name for k, name in enumerate(table["galaxy_id"])])
    with pytest.raises(CatalogueError, match=r"galaxy_id repeats: same"):
        found = open_hats(write_hats(twice, tmp_path / "twice"))
        select_in_partitions(found, sky[2].iloc[:0], options=WHOLE_SKY, cluster=INLINE, folder=tmp_path).joined()


def test_nothing_left_names_the_filter(tmp_path, sky, catalogue):
    faint = dataclasses.replace(WHOLE_SKY, mag_z_max=12.0)
    with pytest.raises(CatalogueError, match=rf"'mag_z' \(step 9\) left none of {len(sky[1])} galaxies"):
        select_in_partitions(catalogue, sky[2], options=faint, cluster=INLINE, folder=tmp_path)
