"""The injection loop, in shards of one (PSF, depth) condition: its hosts are degraded once, its cells injected, scored.

A shard's file is named by a fingerprint of everything it depends on (detector, host pixels, options, sources), so that
a rerun goes on where the last one stopped and never takes old results for new ones.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions, atomic_path, fingerprint, load_npz, map_shards, save_npz, single_threaded
from skytrace.compute.arrays import is_whole_npz
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import is_whole, join_shards, save_shard
from skytrace.errors import CatalogueError, ShardError
from skytrace.imaging.preprocessing import PreprocessOptions, preprocessing_checksum
from skytrace.imaging.psf import ImagePsf, MoffatPsf
from skytrace.lensing.population import LensDraw, PopulationOptions, draw_lenses
from skytrace.selection.condition_sky import ConditionSky
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.hosts import TARGET_COLUMNS
from skytrace.selection.injection import HostStamps, InjectionOptions, Injections, inject_lenses, prepare_hosts
from skytrace.statistics.streams import stream_uniforms
from skytrace.surveys.interface import CutoutBatch

#: Room for injections within a cell: injection_id = cell * this + number within the cell.
IDS_PER_CELL = 1_000_000
_THETA_CHANNEL = 15
#: Columns of the hosts table that injecting reads.
_HOST_COLUMNS = ("condition", "rank", "galaxy_id", "psfsize_r", "psfdepth_r", "shape_e1", "shape_e2", "ebv")
#: A shard computed by other sources of this module and these packages is computed again.
_COMPUTED_BY = (__name__, "skytrace.surveys.interface", *(
    f"skytrace.{name}"
    for name in ("lensing", "imaging", "selection", "statistics", "learning", "sky", "audit", "compute")
))  # fmt: skip


@dataclass(frozen=True)
class Campaign:
    """Everything but the pixels and the weights: what is injected where, and how. Small enough to be pickled.

    Raises CatalogueError naming what the hosts lack of _HOST_COLUMNS.
    """

    grid: GridOptions
    population: PopulationOptions
    injection: InjectionOptions
    preprocessing: PreprocessOptions
    hosts: pd.DataFrame
    conditions: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in _HOST_COLUMNS if name not in self.hosts.columns]
        if missing:
            raise CatalogueError(
                f"the table of hosts lacks the columns {', '.join(missing)}; node injection_recovery.choose_hosts "
                "writes them all: run it again"
            )


@dataclass(frozen=True)
class Shard:
    """Rows ``start`` to ``stop`` (None: all) of one condition's plan, and the file of these injections."""

    path: Path
    condition: int
    start: int = 0
    stop: int | None = None


def run_campaign(
    campaign: Campaign, detector: Any, survey: Any, *, folder: Path, cluster: ClusterOptions
) -> pd.DataFrame:
    """All injections of the campaign, scored, in order of injection_id."""
    detector.check_preprocessing(preprocessing_checksum(campaign.preprocessing))
    staged = stage(campaign, detector, survey, folder=folder)
    shards = shards_of(campaign, staged)
    if not shards:
        raise CatalogueError("no (PSF, depth) condition of the grid has a host: widen the grid or give more sky")
    if cluster.cluster == "inline":
        import skytrace.learning.scoring  # noqa: F401  torch must be loaded before threads limit it

        load_inputs(staged)
    forget_damaged(shards)
    paths = map_shards(partial(compute_shard, campaign=campaign), shards, cluster=cluster, description="injections")
    load_inputs.cache_clear()
    return join_shards(paths, by="injection_id")


def shards_of(campaign: Campaign, folder: Path, *, first: int | None = None) -> list[Shard]:
    """The campaign in shards of about ``shard_injections``: whole batches, so that the results are the same for any.

    first: only so many injections of every cell.
    """
    batch = campaign.injection.batch_size
    step = -(-campaign.injection.shard_injections // batch) * batch
    n_theta = len(campaign.grid.theta_e_arcsec)
    shards = []
    for condition, n in campaign.conditions[["condition", "n_per_cell"]].astype(int).itertuples(index=False):
        size = _per_cell(n, first) * n_theta
        for start in range(0, size, step):
            stop = min(start + step, size)
            name = f"condition-{condition:04d}-{start:08d}-{stop:08d}.parquet"
            shards.append(Shard(folder / name, condition, start, stop))
    return shards


def forget_damaged(shards: Iterable[Shard]) -> None:
    """Delete the files of shards that are there and not whole: they are computed again."""
    for shard in shards:
        if shard.path.exists() and not is_whole(shard.path):
            logging.getLogger(__name__).warning("%s is damaged and is computed again", shard.path)
            shard.path.unlink()


def _per_cell(n: int, first: int | None) -> int:
    return n if first is None else min(n, first)


def stage(campaign: Campaign, detector: Any, survey: Any, *, folder: Path) -> Path:
    """Write what the shards read (host cutouts, weights) to a folder named by its fingerprint; return that folder."""
    names = np.unique(campaign.hosts["galaxy_id"].astype(str).to_numpy())
    batch = survey.cutouts([str(name) for name in names])
    key = fingerprint(
        source_fingerprint(*_COMPUTED_BY),
        detector.architecture, detector.state, campaign.grid, campaign.population,
        replace(campaign.injection, shard_injections=1),  # the block is in a shard's name
        campaign.preprocessing, campaign.hosts, campaign.conditions, batch.image, batch.invvar, _psf_arrays(batch),
    )  # fmt: skip
    staged = Path(folder) / key
    if not is_whole_npz(staged / "hosts.npz"):
        save_npz(
            staged / "hosts.npz", galaxy_id=batch.galaxy_id, image=batch.image, invvar=batch.invvar,
            maskbits=batch.maskbits, **_psf_arrays(batch), compress=("invvar", "maskbits"),
        )  # fmt: skip
    if not is_whole_npz(staged / "weights.npz"):
        save_npz(staged / "weights.npz", **detector.state)
    card = json.dumps({"architecture": detector.architecture, "card": detector.card})
    if not (staged / "card.json").exists() or (staged / "card.json").read_bytes() != card.encode():
        with atomic_path(staged / "card.json") as partial_path:
            partial_path.write_text(card, encoding="utf-8")
    return staged


@lru_cache(maxsize=1)
def load_inputs(staged: Path) -> tuple[CutoutBatch, Any]:
    """Cutouts of all hosts and the detector, once a process."""
    from skytrace.learning.detector import Detector

    try:
        card = json.loads((staged / "card.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ShardError(f"{staged / 'card.json'} is not JSON ({error}); delete the folder and run again") from error
    arrays = load_npz(staged / "hosts.npz")
    psf = ImagePsf(arrays["psf_images"]) if "psf_images" in arrays else MoffatPsf(
        arrays["psf_fwhm"], float(arrays["psf_beta"])
    )  # fmt: skip
    batch = CutoutBatch(arrays["galaxy_id"], arrays["image"], arrays["invvar"], arrays["maskbits"], psf)
    return batch, Detector(card["architecture"], load_npz(staged / "weights.npz"), card["card"])


def compute_shard(shard: Shard, *, campaign: Campaign) -> Path:
    """Inject and score the injections of one shard."""
    from skytrace.learning.scoring import score_stamps

    batch, detector = load_inputs(shard.path.parent)
    score = partial(score_stamps, detector, batch_size=campaign.injection.score_batch, threads=1)
    with single_threaded():
        hosts, plan = hosts_and_plan(campaign, batch, shard)
        host_score, zero_score = score_hosts(hosts, plan, campaign, score)
        parts = []
        for start in range(0, len(plan), campaign.injection.batch_size):
            rows = plan.iloc[start : start + campaign.injection.batch_size]
            injected, draw = inject_rows(hosts, rows, campaign)
            columns = draw.table.drop(columns="injection_id").reset_index(drop=True)
            table = pd.concat(
                [rows.drop(columns="host_row").reset_index(drop=True), columns, injected.measured], axis=1
            )
            table["score"] = score(injected.stamps)
            host_row = rows["host_row"].to_numpy()
            table["host_score"], table["zero_flux_score"] = host_score[host_row], zero_score[host_row]
            parts.append(table)
    save_shard(pd.concat(parts, ignore_index=True), shard.path)
    return shard.path


def condition_hosts(campaign: Campaign, batch: CutoutBatch, condition: int) -> HostStamps:
    """The hosts of one condition, degraded where the condition says so."""
    cell = campaign.conditions.set_index("condition").loc[condition]
    table = campaign.hosts[campaign.hosts["condition"] == condition].sort_values("rank", ignore_index=True)
    index = np.searchsorted(batch.galaxy_id, table["galaxy_id"].astype(str).to_numpy())
    chosen = CutoutBatch(
        batch.galaxy_id[index], batch.image[index], batch.invvar[index], batch.maskbits[index], batch.psf.take(index)
    )
    sizes, depths = np.split(cell[list(TARGET_COLUMNS)].to_numpy(dtype=float), 2)
    return prepare_hosts(
        chosen, table, mode=str(cell["mode"]), target=ConditionSky(sizes, depths),
        depth_column=campaign.grid.depth_column, options=campaign.injection, preprocessing=campaign.preprocessing,
    )  # fmt: skip


def condition_plan(
    campaign: Campaign, condition: int, n_hosts: int, *, rows: slice = slice(None), first: int | None = None
) -> pd.DataFrame:
    """One row an injection of the condition: ids, cell, host. Hosts take turns, starting elsewhere in every cell.

    first: only so many injections of every cell, as they are among all. rows: those of the plan that are wanted.
    """
    cell = campaign.conditions[campaign.conditions["condition"] == condition].iloc[0]
    cells = SelectionGrid(campaign.grid).cells()
    cells = cells[(cells["psf_index"] == cell["psf_index"]) & (cells["depth_index"] == cell["depth_index"])]
    n = int(cell["n_per_cell"])
    each = _per_cell(n, first)
    index = np.arange(each * len(cells))[rows]
    number = index % max(each, 1)
    plan = cells.iloc[index // max(each, 1)].reset_index(drop=True)
    plan.insert(0, "injection_id", plan["cell"].to_numpy() * IDS_PER_CELL + number)
    plan["mode"] = str(cell["mode"])
    plan["host_row"] = (number + n * plan["theta_index"].to_numpy()) % n_hosts
    hosts = campaign.hosts[campaign.hosts["condition"] == condition].sort_values("rank", ignore_index=True)
    plan["galaxy_id"] = hosts["galaxy_id"].astype(str).to_numpy()[plan["host_row"]]
    plan["host_psfsize_r"] = hosts["psfsize_r"].to_numpy(dtype=float)[plan["host_row"]]
    plan["host_psfdepth_r"] = hosts["psfdepth_r"].to_numpy(dtype=float)[plan["host_row"]]
    return plan


def hosts_and_plan(
    campaign: Campaign, batch: CutoutBatch, shard: Shard, *, first: int | None = None
) -> tuple[HostStamps, pd.DataFrame]:
    """The rows of a shard, and the hosts that they use: no other is degraded for nothing. first: as ``shards_of``."""
    condition, rows = shard.condition, slice(shard.start, shard.stop)
    listed = campaign.hosts[campaign.hosts["condition"] == condition].sort_values("rank", ignore_index=True)
    plan = condition_plan(campaign, condition, len(listed), rows=rows, first=first)
    used, place = np.unique(plan["host_row"], return_inverse=True)
    hosts = condition_hosts(replace(campaign, hosts=listed.iloc[used]), batch, condition)
    return hosts, plan.assign(host_row=place)


def inject_rows(
    hosts: HostStamps, rows: pd.DataFrame, campaign: Campaign, *, flux_scale: float = 1.0
) -> tuple[Injections, LensDraw]:
    """The injections of some rows of a condition's plan; each is the same whatever the other rows are."""
    ids, host_row = rows["injection_id"].to_numpy(), rows["host_row"].to_numpy()
    theta_e = rows["theta_e"].to_numpy(dtype=float)
    if campaign.grid.theta_e_in_cell == "uniform":
        edges = SelectionGrid(campaign.grid).edges["theta_e"]
        u = stream_uniforms(ids, 1, seed=campaign.injection.seed, first_channel=_THETA_CHANNEL)[:, 0]
        theta_e = theta_e + (u - 0.5) * (edges[1] - edges[0])
    draw = draw_lenses(
        ids, theta_e, hosts.table.iloc[host_row], options=campaign.population, seed=campaign.injection.seed
    )
    injected = inject_lenses(
        hosts, host_row, draw, options=campaign.injection, preprocessing=campaign.preprocessing, flux_scale=flux_scale
    )
    return injected, draw


def score_hosts(hosts: HostStamps, plan: pd.DataFrame, campaign: Campaign, score: Any) -> tuple[np.ndarray, np.ndarray]:
    """Score of every host as it is, and after an injection of zero flux (gate 7: they must be equal)."""
    from skytrace.imaging.preprocessing import preprocess

    plain = score(preprocess(hosts.image, options=campaign.preprocessing, statistics=hosts.statistics))
    first = plan.drop_duplicates("host_row").sort_values("host_row")
    empty, _ = inject_rows(hosts, first, campaign, flux_scale=0.0)
    zero = np.full(len(hosts), np.nan)
    zero[first["host_row"].to_numpy()] = score(empty.stamps)
    return plain, zero


def recompute(
    campaign: Campaign, survey: Any, injections: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, HostStamps, Injections]]:
    """The composites of some rows of the injections table, computed again from their ids, a condition at a time.

    Yields (rows of the condition's plan, hosts, injections); ``rows["host_row"]`` is each injection's place in hosts.
    """
    cells = campaign.conditions.set_index(["psf_index", "depth_index"])["condition"].to_dict()
    names = np.unique(campaign.hosts["galaxy_id"].astype(str))
    batch = survey.cutouts([str(name) for name in names])
    for key, group in injections.groupby(["psf_index", "depth_index"]):
        condition = int(cells[key])
        hosts = condition_hosts(campaign, batch, condition)
        plan = condition_plan(campaign, condition, len(hosts))
        rows = plan[plan["injection_id"].isin(group["injection_id"])].reset_index(drop=True)
        yield rows, hosts, inject_rows(hosts, rows, campaign)[0]


def drawn_by_lot(injections: pd.DataFrame, n: int, *, seed: int) -> pd.DataFrame:
    """``n`` rows chosen by a hash of their ids, in order of injection_id."""
    u = stream_uniforms(injections["injection_id"].to_numpy(), 1, seed=seed)[:, 0]
    return injections.iloc[np.sort(np.argsort(u, kind="stable")[:n])]


def _psf_arrays(batch: CutoutBatch) -> dict[str, np.ndarray]:
    if isinstance(batch.psf, ImagePsf):
        return {"psf_images": batch.psf.images}
    return {"psf_fwhm": batch.psf.fwhm_arcsec, "psf_beta": np.array(batch.psf.beta)}
