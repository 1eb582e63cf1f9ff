"""Training spectra of the emulator: models one by one, each with its identity, its state and, where it failed, why.

A model that raises, or whose spectrum is not finite, negative, dark or too short, has a reason in place of a spectrum;
it goes to the quarantine with it, and so may one that did not converge. Nothing here depends on the order in which
models are computed, or on which are computed together. Luminosities are in 1e38 erg/s/A, for 32 bits reach 3e38.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, SimulatorError, check_whole
from skytrace.spectra.resampling import bin_edges, resample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.spectra.simulate import SimulatedSpectra
    from skytrace.spectra.training_options import TrainingSetOptions

__all__ = [
    "LUMINOSITY_UNIT_ERG_S_ANGSTROM",
    "TrainingSet",
    "assemble_training_set",
    "model_seed",
    "simulate_models",
    "training_set_from_arrays",
    "training_set_to_arrays",
    "training_wavelengths",
]

LUMINOSITY_UNIT_ERG_S_ANGSTROM = 1e38
#: Where the profiles of T_rad and W are kept, as shares of the zones from the innermost to the outermost.
PROFILE_AT = (0.0, 0.25, 0.5, 0.75, 1.0)
_ROW_NUMBERS = ("t_inner_k", "escaped", "luminosity_change", "t_rad_change")
_PER_MODEL = ("model_id", "seed", "parameters", "luminosity_1e38", "converged", *_ROW_NUMBERS, "t_rad_k", "w")
_SHARED = ("wavelength_angstrom", "parameter_names")


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """n training models, in order of model_id, and a table of those in quarantine.

    luminosity_1e38 (n, m) float32 [1e38 erg/s/A] at wavelength_angstrom (m,), means over bins; parameters (n, d) in the
    order of parameter_names (d,); model_id, seed, converged (n,); t_inner_k, escaped, luminosity_change, t_rad_change
    (n,) as in ``SimulatedSpectra``; t_rad_k and w (n, 5) at PROFILE_AT, float32. NaN: the simulator does not say.
    quarantine: model_id, seed, reason, converged, t_inner_k and the parameters.
    """

    wavelength_angstrom: NDArray[np.float64]
    parameter_names: NDArray[np.str_]
    model_id: NDArray[np.int64]
    seed: NDArray[np.int64]
    parameters: NDArray[np.float64]
    luminosity_1e38: NDArray[np.float32]
    converged: NDArray[np.bool_]
    t_inner_k: NDArray[np.float64]
    escaped: NDArray[np.float64]
    luminosity_change: NDArray[np.float64]
    t_rad_change: NDArray[np.float64]
    t_rad_k: NDArray[np.float32]
    w: NDArray[np.float32]
    quarantine: pd.DataFrame


def training_wavelengths(options: TrainingSetOptions) -> NDArray[np.float64]:
    """Centres (m,) of the bins, equal in log wavelength [A]; the grid's ends are centres of its first and last bin."""
    return np.geomspace(options.wavelength_low_angstrom, options.wavelength_high_angstrom, int(options.bins))


def model_seed(seed: int, model_id: int) -> int:
    """The random seed, below 2^31, of one model of a set: a function of both numbers alone."""
    check_whole("seed", seed, 0, 2**63 - 1)
    check_whole("model_id", model_id, 0, 2**63 - 1)
    return int(np.random.default_rng([seed, model_id]).integers(2**31))


def simulate_models(
    parameters: pd.DataFrame,
    *,
    simulate: Callable[[pd.DataFrame, int], SimulatedSpectra],
    seed: int,
    options: TrainingSetOptions,
) -> dict[str, Any]:
    """Arrays of the models in the rows of ``parameters``, whose column model_id (>= 0) is the rest's identity.

    simulate: gives, for one row without model_id and a seed, its spectrum. Its ArithmeticError, ValueError and
    SimulatorError become reasons (n,), "" where all is well; CatalogueError and all others are raised. The other names
    are those of ``TrainingSet``; the spectrum of a model with a reason is NaN.
    """
    if "model_id" not in parameters.columns:
        raise CatalogueError(f"parameters lack model_id; there are {', '.join(map(str, parameters.columns))}")
    table, ids = parameters.drop(columns="model_id"), parameters["model_id"].to_numpy(dtype=np.int64)
    n, wavelength = len(table), training_wavelengths(options)
    out: dict[str, Any] = {
        "wavelength_angstrom": wavelength,
        "parameter_names": np.array([str(name) for name in table.columns]),
        "model_id": ids,
        "seed": np.array([model_seed(seed, int(one)) for one in ids], dtype=np.int64),
        "parameters": table.to_numpy(dtype=np.float64),
        "luminosity_1e38": np.full((n, len(wavelength)), np.nan, dtype=np.float32),
        "converged": np.zeros(n, dtype=bool),
        **{name: np.full(n, np.nan) for name in _ROW_NUMBERS},
        **{name: np.full((n, len(PROFILE_AT)), np.nan, dtype=np.float32) for name in ("t_rad_k", "w")},
    }
    reasons = []
    for row in range(n):
        try:
            found = simulate(table.iloc[[row]], int(out["seed"][row]))
            _keep_state(out, row, found)
            out["luminosity_1e38"][row] = _on_training_grid(found, wavelength)
            reasons.append("")
        except CatalogueError:
            raise
        except SimulatorError as error:
            reasons.append(str(error))
        except (ArithmeticError, ValueError) as error:
            reasons.append(f"{type(error).__name__}: {error}")
    return out | {"reason": np.array(reasons, dtype=str)}


def _keep_state(out: dict[str, Any], row: int, found: SimulatedSpectra) -> None:
    """What the simulator says about the model beside its spectrum."""
    out["converged"][row] = bool(found.converged[0])
    for name in _ROW_NUMBERS:
        out[name][row] = getattr(found, name)[0]
    for name in ("t_rad_k", "w"):
        profile = getattr(found, name)[0]
        out[name][row] = np.interp(PROFILE_AT, np.linspace(0.0, 1.0, len(profile)), profile)


def _on_training_grid(found: SimulatedSpectra, wavelength_angstrom: NDArray) -> NDArray[np.float32]:
    """(m,) [1e38 erg/s/A], means over bins; raises SimulatorError for a spectrum that cannot be a star's."""
    spectrum = found.luminosity[0]
    if not np.isfinite(spectrum).all():
        raise SimulatorError(f"{int((~np.isfinite(spectrum)).sum())} of {spectrum.size} luminosities are not finite")
    if (spectrum < 0.0).any():
        raise SimulatorError(f"{int((spectrum < 0.0).sum())} of {spectrum.size} luminosities are negative")
    own, wanted = bin_edges(found.wavelength_angstrom), bin_edges(wavelength_angstrom)
    if own[0] > wanted[0] or own[-1] < wanted[-1]:
        raise SimulatorError(
            f"the spectrum from {own[0]:.1f} to {own[-1]:.1f} A does not cover {wanted[0]:.1f} to {wanted[-1]:.1f} A"
        )
    flux = resample(found.wavelength_angstrom, spectrum, None, wavelength_angstrom, min_covered=1.0).flux[0]
    scaled = (flux / LUMINOSITY_UNIT_ERG_S_ANGSTROM).astype(np.float32)
    if not np.isfinite(scaled).all() or not scaled.sum() > 0.0:
        raise SimulatorError("the spectrum on the training grid is dark, or outside the range of 32-bit numbers")
    return scaled


def assemble_training_set(parts: Sequence[Mapping[str, Any]], *, options: TrainingSetOptions) -> TrainingSet:
    """All models of the parts, results of ``simulate_models``, in order of model_id; failed ones in the quarantine.

    Raises CatalogueError for no parts, for parts of different parameters or wavelengths and for a repeated model_id;
    SimulatorError, with the reasons, where more than a share of ``max_quarantined`` is in quarantine, and where no
    model is left.
    """
    import pandas as pd

    if not parts:
        raise CatalogueError("there are no parts to assemble a training set from")
    for name in _SHARED:
        if any(not np.array_equal(part[name], parts[0][name]) for part in parts):
            raise CatalogueError(f"parts have different {name}; they are not of one training set")
    every = {name: np.concatenate([part[name] for part in parts]) for name in (*_PER_MODEL, "reason")}
    order = np.argsort(every["model_id"], kind="stable")
    every = {name: values[order] for name, values in every.items()}
    repeated = every["model_id"][1:][np.diff(every["model_id"]) == 0]
    if len(repeated):
        raise CatalogueError(f"{len(repeated)} model_id occur more than once, the first is {repeated[0]}")
    reason = every["reason"].astype(object)
    if options.quarantine_unconverged:
        for row in np.flatnonzero((reason == "") & ~every["converged"]):
            changes = every["luminosity_change"][row], every["t_rad_change"][row]
            reason[row] = "not converged: luminosity changed by {:.3f}, T_rad by {:.3f}".format(*changes)
    good = reason == ""
    names = parts[0]["parameter_names"]
    quarantine = pd.DataFrame(
        {name: every[name][~good] for name in ("model_id", "seed")}
        | {"reason": pd.array(reason[~good].astype(str), dtype="str")}
        | {name: every[name][~good] for name in ("converged", "t_inner_k")}
        | {str(name): every["parameters"][~good][:, at] for at, name in enumerate(names)}
    )
    if not good.any() or len(quarantine) > options.max_quarantined * len(good):
        kinds = quarantine["reason"].str.split(":").str[0].value_counts()
        raise SimulatorError(
            f"{len(quarantine)} of {len(good)} models are in quarantine, allowed is a share of "
            f"{options.max_quarantined:g}: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}; "
            f"the first: {quarantine['reason'].iloc[0]}"
        )
    shared = {name: np.asarray(parts[0][name]) for name in _SHARED}
    return TrainingSet(**shared, **{name: every[name][good] for name in _PER_MODEL}, quarantine=quarantine)


def training_set_to_arrays(training: TrainingSet) -> dict[str, NDArray]:
    """The arrays of the training models by name, for a file; the quarantine is a table of its own."""
    return {name: getattr(training, name) for name in (*_SHARED, *_PER_MODEL)}


def training_set_from_arrays(arrays: Mapping[str, NDArray], quarantine: pd.DataFrame) -> TrainingSet:
    """The inverse of ``training_set_to_arrays``; raises CatalogueError for an array that is missing."""
    missing = [name for name in (*_SHARED, *_PER_MODEL) if name not in arrays]
    if missing:
        raise CatalogueError(f"a training set's arrays lack {', '.join(missing)}; there are {', '.join(arrays)}")
    return TrainingSet(**{name: arrays[name] for name in (*_SHARED, *_PER_MODEL)}, quarantine=quarantine)
