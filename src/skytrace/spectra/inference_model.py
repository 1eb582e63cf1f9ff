"""What a spectrum's parameters are inferred with: a function from parameters to spectra and the region they may lie in.

The region is a box, of which only a part is physical: velocities ascend, and mass fractions of a zone sum to 1 at most.
All of that is linear in the parameters, or in the abundances of smooth profiles; its edge is softened by 0.5 %, so that
samplers that follow gradients see it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import OptionError
from skytrace.spectra.boxes import box_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["InferenceModel", "inference_model", "physical_limits", "profile_room"]

#: Width of a limit's edge: of velocities of 10,000 km/s, and of a sum of mass fractions.
_SOFT_KM_S, _SOFT_FRACTION = 50.0, 0.005
#: Abundances of stage 1 that share a layer.
_OF_LAYER = (("X_Fe_core", "X_Ni"), ("X_Fe_wall", "X_Si_wall", "X_Ni"), ("X_Fe_outer", "X_Ni"))


@dataclass(frozen=True, eq=False)
class InferenceModel:
    """A function from parameters to spectra, and where parameters may lie.

    names, low, high, logarithmic (d,): the box; the prior is flat in it, or in the logarithm. wavelength_angstrom (m,);
    unit_erg_s_a: y = asinh(L / unit). error_components (k, m), error_variance (m,), displacement (d,): of
    y's error at scale 1 (``EmulatorError``), the last in shares of this box.
    forward: (network, parameters (n, d)) to y (n, m) and the scale (n,) of its error, in JAX; network: its arrays,
    which compiled programs take as arguments, not as constants that the compiler would work on. limit_rows (c, d),
    limits (c,), softness (c,): limit_rows @ parameters <= limits is physical. profile_columns: of the modes of smooth
    abundance profiles among the parameters, () where there are none; ``log_prior`` limits the sums that they mean.
    """

    names: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    logarithmic: NDArray[np.bool_]
    wavelength_angstrom: NDArray[np.float64]
    unit_erg_s_a: float
    error_components: NDArray[np.float64]
    error_variance: NDArray[np.float64]
    displacement: NDArray[np.float64]
    network: Any
    forward: Callable[[Any, Any], tuple[Any, Any]]
    limit_rows: NDArray[np.float64]
    limits: NDArray[np.float64]
    softness: NDArray[np.float64]
    profile_columns: tuple[int, ...] = ()

    @property
    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """low, high and logarithmic."""
        return self.low, self.high, self.logarithmic

    def stretch(self, luminosity: Any) -> NDArray[np.float64]:
        """y of luminosities [erg/s/A]."""
        return np.arcsinh(np.asarray(luminosity, dtype=np.float64) / self.unit_erg_s_a)

    def unstretch(self, stretched: Any) -> NDArray[np.float64]:
        """The inverse of ``stretch``."""
        return np.sinh(np.asarray(stretched, dtype=np.float64)) * self.unit_erg_s_a

    def predict(self, parameters: Any, *, batch: int = 256) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``forward`` in numpy, float64, ``batch`` models at a time."""
        import jax

        rows = np.atleast_2d(np.asarray(parameters, dtype=np.float64))
        parts = []
        with jax.enable_x64(True):
            compiled = jax.jit(self.forward)
            for first in range(0, len(rows), batch):
                part = rows[first : first + batch]
                filled = np.concatenate([part, np.repeat(part[:1], min(batch, len(rows)) - len(part), axis=0)])
                parts.append([np.asarray(values)[: len(part)] for values in compiled(self.network, filled)])
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def inference_model(
    emulator: Any,
    space: Any = None,
    *,
    bins: ArrayLike | None = None,
    single: bool = True,
    forward: Callable[[Any, Any], tuple[Any, Any]] | None = None,
) -> InferenceModel:
    """The model of a ``SpectrumEmulator`` in a ``ParameterSpace`` (None: the emulator's own box).

    bins (m,): mask of the emulator's wavelengths that will be used; the others are never computed. single: networks in
    single precision, half the cost, good to 1e-6 of y. forward: instead of ``jax_predict``, of an empty
    network; it gives the used bins.
    Raises OptionError for a space of other parameters, or one that reaches beyond the box of the training.
    """
    names = tuple(emulator.names)
    low, high = (np.asarray(end, dtype=np.float64) for end in (emulator.low, emulator.high))
    logarithmic = np.asarray(emulator.logarithmic, dtype=bool)
    if space is not None:
        if tuple(space.names) != names:
            raise OptionError(f"the space has {', '.join(space.names)}; the emulator was trained on {', '.join(names)}")
        reach = 1e-6 * (high - low)
        beyond = (np.asarray(space.low) < low - reach) | (np.asarray(space.high) > high + reach)
        if beyond.any():
            outside = ", ".join(name for name, out in zip(names, beyond, strict=True) if out)
            raise OptionError(f"the space reaches beyond the box in which the emulator was trained in {outside}")
        low, high = np.array(space.low, dtype=np.float64), np.array(space.high, dtype=np.float64)
        logarithmic = np.array(space.logarithmic, dtype=bool)
    displacement = _shares_of(emulator, low, high, logarithmic)
    used = np.ones(len(emulator.wavelength_angstrom), bool) if bins is None else np.asarray(bins, dtype=bool)
    network, decode = ((), forward) if forward else _network(emulator, used, np.float32 if single else np.float64)
    rows, limits, softness = physical_limits(names)
    return InferenceModel(
        names, low, high, logarithmic, np.asarray(emulator.wavelength_angstrom, dtype=np.float64)[used],
        float(emulator.softening * emulator.level_erg_s_a),
        np.asarray(emulator.error.components, dtype=np.float64)[:, used],
        np.asarray(emulator.error.variance, dtype=np.float64)[used], displacement,
        network, decode, rows, limits, softness, _profile_columns(names),
    )  # fmt: skip


def _shares_of(
    emulator: Any, low: NDArray[np.float64], high: NDArray[np.float64], logarithmic: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The emulator's displacement (d,) in shares of the box from low to high; 0 where it has none."""
    displacement = np.asarray(emulator.error.displacement, dtype=np.float64)
    if not displacement.size:
        return np.zeros(len(low))
    whole, own = (
        np.subtract(*box_ends((ends[1], ends[0], logarithmic))) for ends in ((emulator.low, emulator.high), (low, high))
    )
    return displacement * whole / own


def _network(
    emulator: Any, used: NDArray[np.bool_], dtype: Any
) -> tuple[dict[str, Any], Callable[[Any, Any], tuple[Any, Any]]]:
    """The large arrays of an emulator, of the used bins, and ``jax_predict`` of these, computed in ``dtype``."""
    from skytrace.spectra.emulator import jax_predict

    network = {
        "shape_mean": np.asarray(emulator.shape_mean[used], dtype=dtype),
        "shape_components": np.asarray(emulator.shape_components[:, used], dtype=dtype),
        "weights": tuple(np.asarray(layer, dtype=dtype) for layer in emulator.weights),
        "biases": tuple(np.asarray(layer, dtype=dtype) for layer in emulator.biases),
    }
    plain = ("low", "high", "input_mean", "input_scale", "output_mean", "output_scale", "level_slope")
    rest = replace(emulator, **{name: np.asarray(getattr(emulator, name), dtype=dtype) for name in plain})

    def forward(network: dict[str, Any], parameters: Any) -> tuple[Any, Any]:
        stretched, scale = jax_predict(replace(rest, **network), parameters)
        return stretched.astype(np.float64), scale.astype(np.float64)

    return network, forward


def physical_limits(names: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """rows (c, d), limits (c,) and softness (c,) of what is physical: rows @ parameters <= limits.

    v_inner <= v_core <= v_wall, and in each layer of stage 1, or each zone of stage 2, mass fractions that leave oxygen
    no less than nothing (``composition``). For the smooth modes of stage 3 see ``profile_room``.
    """
    from skytrace.spectra.composition import COMPOSITION_Z, LAYER_PARAMETERS, mass_fractions, zone_columns, zones_in

    names = list(names)
    groups: list[tuple[dict[str, float], float, float]] = [
        ({"v_inner": 1.0, "v_core": -1.0}, 0.0, _SOFT_KM_S),
        ({"v_core": 1.0, "v_wall": -1.0}, 0.0, _SOFT_KM_S),
    ]
    zones = zones_in(names)
    empty = {name: np.zeros(1) for name in (zone_columns(zones) if zones else LAYER_PARAMETERS)}
    room = mass_fractions({**empty, "t_exp": np.full(1, 20.0)}, zones=zones)[0, :, COMPOSITION_Z.index(8)]
    sharing = [
        tuple(name for name in empty if name.endswith(f"_zone_{zone}")) for zone in range(1, zones + 1)
    ] or list(_OF_LAYER)  # fmt: skip
    groups += [(dict.fromkeys(group, 1.0), limit, _SOFT_FRACTION) for group, limit in zip(sharing, room, strict=True)]
    groups = [group for group in groups if all(name in names for name in group[0])]
    rows = np.zeros((len(groups), len(names)))
    for row, (terms, _, _) in zip(rows, groups, strict=True):
        row[[names.index(name) for name in terms]] = list(terms.values())
    return rows, np.array([group[1] for group in groups]), np.array([group[2] for group in groups])


def profile_room(quantiles: Any, xp: Any, special: Any) -> Any:
    """What the eight species of smooth profiles leave of each zone's mass, (n, 15), in units of the softened edge;
    below 0 is unphysical. quantiles (n, 48), xp and special: as ``abundance_profiles.profile_abundances`` takes them.
    """
    from skytrace.spectra.abundance_profiles import PROFILE_ZONES, profile_abundances
    from skytrace.spectra.composition import COMPOSITION_Z, mass_fractions, zone_columns

    empty = {name: np.zeros(1) for name in zone_columns(PROFILE_ZONES)}
    room = mass_fractions({**empty, "t_exp": np.full(1, 20.0)}, zones=PROFILE_ZONES)[0, :, COMPOSITION_Z.index(8)]
    return (room - profile_abundances(quantiles, xp, special).sum(axis=1)) / _SOFT_FRACTION


def _profile_columns(names: Sequence[str]) -> tuple[int, ...]:
    """Places of the modes in ``names``, in their own order; () where there are none."""
    from skytrace.spectra.abundance_profiles import mode_columns

    wanted, places = mode_columns(), {name: place for place, name in enumerate(names)}
    return tuple(places[name] for name in wanted) if set(wanted) <= set(places) else ()
