"""From ranked candidates to mass models: which systems, their fits in files of their own, the check, and the figure.

A system's file is named by its images, its options and the sources, so a run that was stopped goes on, and one of other
images is never taken for this one's.
"""

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skytrace.clusters.modelling_options import ClusterLensOptions, FreeFormOptions, LensSamplerOptions
from skytrace.compute import ClusterOptions, fingerprint, map_shards
from skytrace.compute.files import file_name_of
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.json_values import json_ready
from skytrace.errors import ShardError
from skytrace.pipelines.cluster_modelling.options import SystemOptions
from skytrace.surveys.clusters.identified import ClusterImages

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["check_models", "choose_systems", "draw_systems", "fit_systems"]

_MODELLED_BY = (
    __name__, "skytrace.statistics.nuts",
    *(f"skytrace.clusters.modelling_{part}" for part in (
        "density", "derived", "fit", "free_form", "images", "mass", "options", "search", "system",
    )),
)  # fmt: skip


@dataclass(frozen=True)
class SystemShard:
    """The file of one system's model."""

    path: Path
    cluster_id: str
    z_lens: float
    images: Table
    members: Table


def choose_systems(
    candidates: Table, cluster_images: ClusterImages, options: SystemOptions
) -> tuple[Table, Table, Table]:
    """(one row a candidate that was looked at, best first: how many families and images, and whether it is modelled or
    why not; images and members of those that are).
    """
    asked = candidates if options.known_lenses else candidates[candidates["rank"] > 0]
    asked = asked.head(options.candidates)
    names = asked["cluster_id"].to_list()
    images = cluster_images.images(names)
    by_cluster = images.groupby("cluster_id")
    systems = asked[["rank", "cluster_id", "redshift", "probability"]].reset_index(drop=True)
    families = by_cluster["family"].nunique().reindex(names).fillna(0).to_numpy(dtype=int)
    counts = by_cluster.size().reindex(names).fillna(0).to_numpy(dtype=int)
    enough = (families >= options.least_families) & (counts >= options.least_images)
    verdict = np.where(counts == 0, "no identified images", "too few images")
    verdict = np.where(enough & (np.cumsum(enough) <= options.most_systems), "modelled", verdict)
    verdict = np.where(enough & (verdict != "modelled"), "beyond the systems asked for", verdict)
    systems = systems.assign(n_families=families, n_images=counts, verdict=verdict)
    modelled = systems.loc[systems["verdict"] == "modelled", "cluster_id"].to_list()
    return systems, images[images["cluster_id"].isin(modelled)], cluster_images.members(modelled)


def fit_systems(
    systems: Table, images: Table, members: Table, options: SystemOptions, lens: ClusterLensOptions,
    sampler: LensSamplerOptions, free_form: FreeFormOptions, cluster: ClusterOptions,
) -> tuple[Table, Table]:  # fmt: skip
    """(one row a system: Einstein radius and mass with 68 % intervals, emcee and the free-form ensemble beside, what
    failed; one row an image: observed, predicted, magnification and time delay with 68 % intervals).
    """
    key = fingerprint(
        source_fingerprint(*_MODELLED_BY), *(dataclasses.asdict(one) for one in (lens, sampler, free_form)),
        options.emcee_steps, options.curve_cells,
    )  # fmt: skip
    by_name = [dict(iter(table.groupby("cluster_id"))) for table in (images, members)]
    shards = []
    for row in systems[systems["verdict"] == "modelled"].to_dict("records"):
        name, z_lens = str(row["cluster_id"]), float(row["redshift"])
        mine, galaxies = (
            held.get(name, table.iloc[:0]).reset_index(drop=True)
            for held, table in zip(by_name, (images, members), strict=True)
        )
        file = f"{file_name_of(name)}-{fingerprint(key, z_lens, name, mine, galaxies)}.json"
        shards.append(SystemShard(Path(options.folder) / file, name, z_lens, mine, galaxies))
    for shard in shards:
        if shard.path.exists() and not _is_whole(shard.path):
            shard.path.unlink()
    fit = partial(_fit_system, options=options, lens=lens, sampler=sampler, free_form=free_form)
    paths = map_shards(fit, shards, cluster=cluster, description="lens models")
    held = [_read_system(path) for path in paths]
    models = pd.DataFrame([one["model"] for one in held], columns=None if held else ["cluster_id"])
    models = models.assign(file=[path.as_posix() for path in paths])
    models = systems[["rank", "cluster_id", "redshift"]].merge(models, on="cluster_id", validate="1:1")
    rows = [pd.DataFrame(one["images"]) for one in held]
    return models, pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def check_models(models: Table, cluster_images: ClusterImages, lens: ClusterLensOptions) -> Report:
    """Einstein radii and masses beside the truth of a simulated sky, and what did not converge; on a real sky the
    latter alone.
    """
    truth = cluster_images.truth(models["cluster_id"].to_list() if len(models) else [], options=lens)
    report: Report = {
        "systems": len(models), "z_reference": lens.z_reference,
        "converged": int((models["failures"] == "").sum()) if len(models) else 0,
    }  # fmt: skip
    both = models.merge(truth, on="cluster_id", suffixes=("", "_true"), validate="1:1") if len(models) else models
    if not len(both):
        return report | {"truth": "none"}
    rows = {}
    for name in ("einstein_radius_arcsec", "mass_msun"):
        error = both[name] / both[f"{name}_true"] - 1.0
        inside = both[f"{name}_true"].between(both[f"{name}_low"], both[f"{name}_high"])
        rows[name] = {
            "mean_relative_error": float(error.mean()), "error_of_mean": float(error.std() / np.sqrt(len(both))),
            "inside_68": int(inside.sum()), "of": len(both),
        }  # fmt: skip
    told = both[["cluster_id", "einstein_radius_arcsec", "einstein_radius_arcsec_true"]].to_dict("records")
    return json_ready(report | {"truth": "of the simulated sky", **rows, "by_system": told})


def draw_systems(models: Table, modelled_images: Table, members: Table, options: SystemOptions) -> tuple[Any, Any]:
    """The figure of the best systems, for its PNG and its PDF."""
    from skytrace.reporting.lens_model_figures import System, systems_figure

    drawn = []
    for row in models.head(options.drawn).to_dict("records"):
        held = _read_system(Path(row["file"]))
        curves = {name: [np.array(line) for line in lines] for name, lines in held["curves"].items()}
        mine, galaxies = (table[table["cluster_id"] == row["cluster_id"]] for table in (modelled_images, members))
        drawn.append(System(row, mine, galaxies, curves))
    figure = systems_figure(drawn)
    return figure, figure


def _fit_system(
    shard: SystemShard, *, options: SystemOptions, lens: ClusterLensOptions, sampler: LensSamplerOptions,
    free_form: FreeFormOptions,
) -> Path:  # fmt: skip
    from skytrace.clusters.modelling_images import LensedImages
    from skytrace.clusters.modelling_system import model_system
    from skytrace.compute.files import atomic_path

    columns = ("family", "x_arcsec", "y_arcsec", "position_err_arcsec", "z_source", "log_flux", "log_flux_err")
    galaxies = {f"member_{name}": shard.members[name].to_numpy() for name in ("x_arcsec", "y_arcsec", "luminosity")}
    images = LensedImages(
        **{name: shard.images[name].to_numpy() for name in columns}, **galaxies, z_lens=shard.z_lens
    )  # fmt: skip
    found = model_system(
        images, lens=lens, sampler=sampler, free_form=free_form, emcee_steps=options.emcee_steps,
        curve_cells=options.curve_cells,
    )  # fmt: skip
    rows = found.images.assign(cluster_id=shard.cluster_id)
    held = {
        "model": {"cluster_id": shard.cluster_id, **found.model},
        "images": rows.to_dict("list"),
        "curves": found.curves,
    }
    text = json.dumps(json_ready(held))
    with atomic_path(shard.path) as path:
        path.write_text(json.dumps({"content": fingerprint(text), **json.loads(text)}), encoding="utf-8")
    return shard.path


def _read_system(path: Path) -> dict[str, Any]:
    """What ``_fit_system`` wrote. Raises ShardError where the file is damaged or its content was changed."""
    try:
        held = json.loads(path.read_bytes())
        content = held.pop("content")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"shard {path} cannot be read ({error}); delete it and run again") from error
    if fingerprint(json.dumps(held)) != content:
        raise ShardError(f"shard {path} is not what was computed: its content was changed; delete it and run again")
    return held


def _is_whole(path: Path) -> bool:
    try:
        _read_system(path)
    except ShardError:
        return False
    return True
