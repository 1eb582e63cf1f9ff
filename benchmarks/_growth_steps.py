"""Every step that maps shards, on made-up inputs of any size: what ``cost_growth`` measures.

Inputs are prepared before the clock starts; then the pipeline's own function runs as its node calls it, from an empty
folder to the joined result. What is sampled has shorter chains than the pipeline's: their length is not the size that
grows here, and ``Step.note`` says so.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytrace.compute import ClusterOptions

__all__ = ["STEPS", "Step", "Work"]

CONF = Path(__file__).resolve().parents[1] / "conf" / "base"
#: Einstein radii of the default grid: an injection of each is one more of a cell.
_RADII = 11


class Work(NamedTuple):
    """A prepared step: run(folder, cluster) computes it into an empty folder; ``objects`` is what it works on."""

    objects: int
    run: Callable[[Path, ClusterOptions], object]


class Step(NamedTuple):
    """objects: what is counted. function: of the source. smallest, largest: of the growth. pair: of the comparison
    of one process with two. prepare(n, folder): inputs of n objects, kept in ``folder`` between calls. note: what
    differs from the pipeline's default.
    """

    pipeline: str
    objects: str
    function: str
    smallest: int
    largest: int
    pair: int
    prepare: Callable[[int, Path], Work]
    note: str = ""


def _parameters(pipeline: str) -> dict[str, Any]:
    import yaml

    return yaml.safe_load((CONF / f"parameters_{pipeline}.yml").read_text(encoding="utf-8"))[pipeline]


def _campaign(sky: Any, per_cell: int, conditions: int) -> Any:
    from benchmarks.selection_function import campaign_on

    campaign = campaign_on(sky, 200)
    most = campaign.conditions.sort_values("n_per_cell", kind="stable").tail(conditions)
    return dataclasses.replace(campaign, conditions=most.assign(n_per_cell=per_cell))


def injections(n: int, _: Path) -> Work:
    """Injections of one condition of the grid."""
    from skytrace.pipelines.injection_recovery.shards import run_campaign
    from tests.selection.fake_sky import FakeSky, random_detector

    sky, detector, per_cell = FakeSky(300), random_detector(), -(-n // _RADII)
    campaign = _campaign(sky, per_cell, 1)
    return Work(
        per_cell * _RADII, lambda folder, cluster: run_campaign(campaign, detector, sky, folder=folder, cluster=cluster)
    )


def studied_injections(n: int, _: Path) -> Work:
    """The injections of a study, of two conditions."""
    from skytrace.pipelines.injection_recovery.shards import stage
    from skytrace.pipelines.injection_studies.shards import run_study
    from tests.selection.fake_sky import FakeSky, random_detector

    sky, detector, per_cell = FakeSky(300), random_detector(), -(-n // (2 * _RADII))
    campaign = _campaign(sky, per_cell, 2)

    def run(folder: Path, cluster: ClusterOptions) -> object:
        staged = stage(campaign, detector, sky, folder=folder)
        return run_study(campaign, staged=staged, injections_per_cell=per_cell, cluster=cluster)

    return Work(per_cell * 2 * _RADII, run)


def partitions(n: int, folder: Path) -> Work:
    """Rows of a HATS catalogue, 50,000 a cell."""
    import pandas as pd

    from benchmarks._hats_sky import write_sky
    from benchmarks.catalogue_scale import options
    from skytrace.surveys.hats_catalogue import open_hats
    from skytrace.surveys.selected import select_in_partitions

    sky = folder / f"sky-{n}"
    if not (sky / "lenses.parquet").exists():
        write_sky(sky, n).to_parquet(sky / "lenses.parquet")
    catalogue, lenses = open_hats(sky), pd.read_parquet(sky / "lenses.parquet")
    return Work(
        n, lambda into, cluster: select_in_partitions(
            catalogue, lenses, options=options()[0], folder=into, cluster=cluster
        ),
    )  # fmt: skip


def stamps(n: int, folder: Path) -> Work:
    """Cutouts of the built-in survey, cut, judged and prepared."""
    from skytrace.imaging import PreprocessOptions
    from skytrace.imaging.quality import QualityOptions
    from skytrace.pipelines.lens_finder.cutouts import Cutting, cut
    from skytrace.pipelines.lens_finder.options import CutoutOptions
    from skytrace.surveys.mock import MockSurvey, MockSurveyOptions

    survey = MockSurvey(folder / f"survey-{n}", MockSurveyOptions(n_galaxies=n, threads=2))
    if not (folder / f"survey-{n}").exists():
        survey.make()
    sample = survey.galaxies()

    def run(into: Path, cluster: ClusterOptions) -> object:
        return cut(
            Cutting(survey, sample, PreprocessOptions(), QualityOptions(), CutoutOptions(scratch_folder=str(into))),
            cluster,
        )

    return Work(len(sample), run)


def light_curves(n: int, _: Path) -> Work:
    """Supernovae with the cadence of DES, each fitted."""
    from benchmarks._supernova_peers import simulate
    from skytrace.pipelines.supernova.shards import FitShardOptions, fit_in_shards
    from skytrace.supernovae.fit_options import FitOptions

    table, _truth = simulate(n, seed=1)
    return Work(
        n, lambda folder, cluster: fit_in_shards(
            table, options=FitOptions(), shards=FitShardOptions(str(folder)), cluster=cluster
        ),
    )  # fmt: skip


def cross_validated(n: int, _: Path) -> Work:
    """Supernovae of a Hubble table: five folds and those that are held out, two laws."""
    from benchmarks._supernova_population import simulated_hubble_table
    from skytrace.pipelines.supernova.fold_shards import score_in_shards
    from skytrace.pipelines.supernova.shards import FitShardOptions
    from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions

    table = simulated_hubble_table(n, seed=1)
    table = table.assign(fold=np.arange(n) % 5, held_out=np.arange(n) % 10 == 9)
    return Work(
        n, lambda folder, cluster: score_in_shards(
            table, models=("flat_lcdm", "log_distance"), population=PopulationOptions(), sampler=SamplerOptions(),
            shards=FitShardOptions(str(folder)), cluster=cluster,
        ),
    )  # fmt: skip


def models(n: int, _: Path) -> Work:
    """Models of stage 1 through the built-in radiative transfer, as accurate as by default."""
    from skytrace.pipelines.spectral_emulator.shards import ModelShardOptions, simulate_in_shards
    from skytrace.pipelines.spectral_emulator.simulators import SimulatorOptions
    from skytrace.spectra.atomic_data import atomic_to_arrays
    from skytrace.spectra.atomic_lines import load_atomic_data
    from skytrace.spectra.parameter_space import draw_latin_hypercube, stage_one_space
    from skytrace.spectra.training_options import TrainingSetOptions

    simulator = SimulatorOptions()
    atomic = atomic_to_arrays(load_atomic_data(options=simulator.built_in.atomic))
    drawn = draw_latin_hypercube(stage_one_space(), n, seed=1)[0]
    training = TrainingSetOptions(max_quarantined=1.0)  # of one model, one may not converge
    return Work(
        n, lambda folder, cluster: simulate_in_shards(
            drawn, seed=1, atomic=atomic, simulator=simulator, training=training,
            shards=ModelShardOptions(str(folder)), cluster=cluster,
        ),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _emulator() -> Any:
    """An untrained emulator of the default's layers: its spectra mean nothing, and cost what spectra cost."""
    from skytrace.spectra.emulator import SpectrumEmulator
    from skytrace.spectra.emulator_error import EmulatorError
    from skytrace.spectra.emulator_inputs import emulator_inputs
    from skytrace.spectra.parameter_space import stage_one_space

    rng, space, bins, components = np.random.default_rng(1), stage_one_space(), 500, 40
    place = np.linspace(0.0, 1.0, bins)
    shapes = np.linalg.qr(np.cos(np.pi * np.arange(1, components + 1) * place[:, None]))[0].T
    middle = 0.5 * (np.array(space.low) + np.array(space.high))
    box = (np.array(space.low), np.array(space.high), np.zeros(len(middle), dtype=bool))
    n_inputs = emulator_inputs(middle[None], space.names, box).shape[1]
    sizes = (n_inputs, *_parameters("spectral_emulator")["emulator"]["distilled"], components + 2)
    layers = [rng.normal(size=(1, a, b)) / np.sqrt(a) for a, b in pairwise(sizes)]
    return SpectrumEmulator(
        names=space.names, low=np.array(space.low), high=np.array(space.high),
        logarithmic=box[2],
        wavelength_angstrom=np.exp(np.linspace(np.log(2500.0), np.log(10_500.0), bins)), softening=0.05,
        level_erg_s_a=1e39, shape_mean=np.full(bins, 3.0), shape_components=shapes, input_mean=np.zeros(n_inputs),
        input_scale=np.ones(n_inputs), output_mean=np.zeros(components + 2), output_scale=np.ones(components + 2),
        level_slope=np.zeros(len(space.names)), weights=tuple(one.astype(np.float32) for one in layers),
        biases=tuple(np.zeros((1, 1, b), dtype=np.float32) for b in sizes[1:]),
        error=EmulatorError(
            np.zeros((1, bins)), np.full(bins, 4e-4), 0.0, 1.0, np.zeros(0), np.full(bins, 0.02)
        ), distilled=True,
    )  # fmt: skip


def mocks(n: int, _: Path) -> Work:
    """Mock spectra of stage 1, the posterior of each sampled."""
    from skytrace.pipelines.spectral_emulator.inference_shards import MockShardOptions, coverage_in_shards
    from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
    from skytrace.spectra.parameter_space import draw_latin_hypercube, stage_one_space

    emulator, space, chosen = _emulator(), stage_one_space(), _parameters("spectral_emulator")["coverage"]
    truth = draw_latin_hypercube(space, n, seed=1)[0].to_numpy()
    luminosity = emulator.predict(truth).luminosity
    error = 0.03 * luminosity
    seen = luminosity + error * np.random.default_rng(2).normal(size=error.shape)
    sampler = SpectrumSamplerOptions(
        n_prior_draws=256, n_starts=1, nuts_warmup=20, nuts_draws=20, nuts_chains=2,
        max_tree_depth=chosen["max_tree_depth"],
    )  # fmt: skip

    def run(folder: Path, cluster: ClusterOptions) -> object:
        return coverage_in_shards(
            seen, error, truth, emulator=emulator, space=space, options=LikelihoodOptions(), sampler=sampler,
            shards=MockShardOptions(str(folder), chosen["batch"]), cluster=cluster,
        )  # fmt: skip

    return Work(n, run)


def _mock_clusters(n: int) -> Any:
    from skytrace.surveys.clusters.mock import MockClusters
    from skytrace.surveys.clusters.options import MockClusterOptions

    return MockClusters(MockClusterOptions(n_clusters=n, threads=1))


def _cut(n: int, folder: Path) -> tuple[Any, Any, Any]:
    """(catalogue, table of cut fields, split) of n mock clusters, rendered by both cores where they are not there."""
    from skytrace.compute import ClusterOptions
    from skytrace.pipelines.cluster_pu.fields import cut_fields, read_clusters
    from skytrace.pipelines.cluster_pu.options import FieldOptions

    survey = _mock_clusters(n)
    clusters = read_clusters(survey)
    kept = FieldOptions(str(folder.parent / "cut-fields"))  # of both steps that start from them
    fields = cut_fields(survey, clusters, kept, ClusterOptions(workers=2))
    splits = np.array(["train", "train", "val", "test"])[np.arange(n) % 4]
    return clusters, fields, clusters[["cluster_id"]].assign(split=splits)


def fields(n: int, _: Path) -> Work:
    """Mock clusters, rendered and cut out."""
    from skytrace.pipelines.cluster_pu.fields import cut_fields, read_clusters
    from skytrace.pipelines.cluster_pu.options import FieldOptions

    survey = _mock_clusters(n)
    clusters = read_clusters(survey)
    return Work(
        n, lambda folder, cluster: cut_fields(survey, clusters, FieldOptions(str(folder)), cluster)
    )  # fmt: skip


def _feature_options() -> Any:
    from skytrace.parameters import build_options
    from skytrace.pipelines.cluster_pu.options import FeatureOptions

    return build_options("features", _parameters("cluster_pu")["features"], FeatureOptions)


def field_features(n: int, folder: Path) -> Work:
    """Cluster fields, measured; a quarter of them under three worse skies, too."""
    from skytrace.pipelines.cluster_pu.features import measure_features
    from skytrace.pipelines.cluster_pu.options import FieldOptions

    clusters, table, split = _cut(n, folder)
    options = _feature_options()
    return Work(
        n, lambda into, cluster: measure_features(
            table, clusters, split, options, FieldOptions(str(into)), cluster
        ),
    )  # fmt: skip


def network_inputs(n: int, folder: Path) -> Work:
    """Cluster fields as the transformer sees them: half of them twice, a quarter under three worse skies."""
    from skytrace.parameters import build_options
    from skytrace.pipelines.cluster_pu.options import FieldOptions
    from skytrace.pipelines.cluster_pu.transformer_inputs import prepare_inputs
    from skytrace.pipelines.cluster_pu.transformer_options import TransformerTrackOptions

    _, table, split = _cut(n, folder)
    track = build_options("transformer", _parameters("cluster_pu")["transformer"], TransformerTrackOptions)
    options = _feature_options()
    return Work(
        n, lambda into, cluster: prepare_inputs(
            table, split, track, options, FieldOptions(str(into)), cluster
        ),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _systems() -> tuple[Any, Any, Any]:
    """(systems, images, members) of the first mock clusters that have enough images to be modelled."""
    import pandas as pd

    from skytrace.pipelines.cluster_modelling.nodes import choose_systems
    from skytrace.pipelines.cluster_modelling.options import SystemOptions
    from skytrace.surveys.clusters.identified import MockClusterImages

    survey = _mock_clusters(1000)
    truth = survey.truth().merge(survey.clusters(), on="cluster_id")
    lenses = truth[truth["is_lens"]].head(30)
    candidates = pd.DataFrame(
        {"rank": np.arange(1, len(lenses) + 1), "cluster_id": lenses["cluster_id"].to_numpy(),
         "redshift": lenses["redshift"].to_numpy(), "probability": 0.5}
    )  # fmt: skip
    options = SystemOptions("models", candidates=30, least_families=2, least_images=7, most_systems=4)
    return choose_systems(candidates, MockClusterImages(survey.options), options)


def lens_models(n: int, _: Path) -> Work:
    """Lens models of mock clusters: four of them, over and over under names of their own."""
    import pandas as pd

    from skytrace.clusters.modelling_options import ClusterLensOptions, FreeFormOptions, LensSamplerOptions
    from skytrace.parameters import build_options
    from skytrace.pipelines.cluster_modelling.nodes import fit_systems
    from skytrace.pipelines.cluster_modelling.options import SystemOptions

    chosen = _parameters("cluster_modelling")
    lens = build_options("lens", chosen["lens"], ClusterLensOptions)
    sampler = LensSamplerOptions(n_starts=2, n_chains=2, n_warmup=10, n_samples=20, n_derived=10)
    free_form = FreeFormOptions(cells=12, n_draws=2)
    systems, images, members = _systems()
    first = systems[systems["verdict"] == "modelled"].reset_index(drop=True)
    parts: list[list[Any]] = [[], [], []]
    for number in range(n):
        row = first.iloc[[number % len(first)]]
        name = row["cluster_id"].iloc[0]
        for part, table in zip(parts, (row, images, members), strict=True):
            part.append(table[table["cluster_id"] == name].assign(cluster_id=f"system-{number:05d}"))
    rows, images, members = (pd.concat(part, ignore_index=True) for part in parts)

    def run(folder: Path, cluster: ClusterOptions) -> object:
        options = SystemOptions(str(folder), emcee_steps=30, curve_cells=40, most_systems=n)
        return fit_systems(rows, images, members, options, lens, sampler, free_form, cluster)

    return Work(n, run)


STEPS = {
    "partitions": Step("lens_finder", "rows of a HATS catalogue", "select_in_partitions", 10_000, 10_000_000,
                       10_000_000, partitions),
    "stamps": Step("lens_finder", "galaxies", "cut", 20, 20_000, 60_000, stamps),
    "injections": Step("injection_recovery", "injections", "run_campaign", 22, 22_000, 41_000, injections,
                       "one condition, untrained network"),
    "studied_injections": Step("injection_studies", "injections", "run_study", 22, 22_000, 41_000, studied_injections,
                               "two conditions, untrained network"),
    "light_curves": Step("supernova", "supernovae", "fit_in_shards", 100, 300_000, 100_000, light_curves),
    "cross_validated": Step("supernova", "supernovae", "score_in_shards", 100, 100_000, 100_000, cross_validated,
                            "two of four laws"),
    "models": Step("spectral_emulator", "models", "simulate_in_shards", 1, 1000, 600, models),
    "mocks": Step("spectral_emulator", "mock spectra", "coverage_in_shards", 1, 1000, 600, mocks,
                  "two chains of 20 + 20, untrained network"),
    "fields": Step("cluster_pu", "clusters", "cut_fields", 3, 3000, 600, fields),
    "field_features": Step("cluster_pu", "clusters", "measure_features", 3, 3000, 6000, field_features),
    "network_inputs": Step("cluster_pu", "clusters", "prepare_inputs", 3, 3000, 2000, network_inputs),
    "lens_models": Step("cluster_modelling", "clusters", "fit_systems", 1, 1000, 160, lens_models,
                        "two chains of 10 + 20, 2 free-form maps"),
}  # fmt: skip
