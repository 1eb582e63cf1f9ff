"""Multiple images and member galaxies of one cluster, checked, and the distances that turn them into constraints.

Positions are arcsec in a right-handed tangent plane whose origin is the brightest galaxy. Distances are those of
``clusters.catalogue`` (flat LambdaCDM, 2e-6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skytrace.clusters.catalogue import comoving_distance_mpc
from skytrace.clusters.options import CatalogueFeatureOptions
from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.clusters.modelling_options import ClusterLensOptions

__all__ = [
    "ImageArrays",
    "LensedImages",
    "angular_distances_mpc",
    "critical_mass_per_arcsec2",
    "distance_ratio",
    "image_arrays",
    "time_delay_days_per_arcsec2",
]

ARCSEC_PER_RAD = 206264.80624709636
_MPC_M, _LIGHT_M_S = 3.0856775814913673e22, 299792458.0
_GM_SUN = 1.32712440018e20  # m^3 s^-2
_DAY_S = 86400.0


@dataclass(frozen=True)
class LensedImages:
    """family (n,): which source each image is of. x_arcsec, y_arcsec, position_err_arcsec (n,); z_source (n,), the same
    for all of a family. log_flux, log_flux_err (n,): natural logarithms, NaN where not measured. member_x_arcsec,
    member_y_arcsec, member_luminosity (m,), in L*, the first the brightest; may be empty.

    Raises CatalogueError naming every problem: lengths, values that are not finite, a family with one image, an image
    listed twice, a source that is not behind the lens, errors that are not positive.
    """

    family: NDArray[Any]
    x_arcsec: NDArray[np.float64]
    y_arcsec: NDArray[np.float64]
    position_err_arcsec: NDArray[np.float64]
    z_source: NDArray[np.float64]
    z_lens: float
    log_flux: NDArray[np.float64] | None = None
    log_flux_err: NDArray[np.float64] | None = None
    member_x_arcsec: NDArray[np.float64] | None = None
    member_y_arcsec: NDArray[np.float64] | None = None
    member_luminosity: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        set_value = object.__setattr__  # frozen: arrays and what was left out are filled in once
        set_value(self, "family", np.atleast_1d(np.asarray(self.family)))
        for name in ("x_arcsec", "y_arcsec", "position_err_arcsec", "z_source"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            set_value(self, name, np.broadcast_to(value, self.family.shape).copy() if value.ndim == 0 else value)
        for name in ("log_flux", "log_flux_err"):
            given = getattr(self, name)
            value = np.asarray(np.nan if given is None else given, dtype=np.float64)
            set_value(self, name, np.broadcast_to(value, self.family.shape).copy() if np.ndim(value) == 0 else value)
        for name in ("member_x_arcsec", "member_y_arcsec", "member_luminosity"):
            value = getattr(self, name)
            set_value(self, name, np.zeros(0) if value is None else np.asarray(value, dtype=np.float64))
        problems = [*_length_problems(self)]
        problems = problems or [*_value_problems(self), *_family_problems(self)]
        if problems:
            raise CatalogueError(f"the images of this cluster cannot be modelled: {'; '.join(problems)}")

    @property
    def names(self) -> NDArray[Any]:
        """The families (f,), sorted."""
        return np.unique(self.family)

    @property
    def n_constraints(self) -> int:
        """Two for each image and one for each flux, less the sources' own positions and fluxes."""
        assert self.log_flux is not None and self.log_flux_err is not None
        measured = np.isfinite(self.log_flux) & np.isfinite(self.log_flux_err)
        per_family = [int(measured[self.family == name].sum()) for name in self.names]
        return 2 * (len(self.family) - len(self.names)) + sum(max(n - 1, 0) for n in per_family)


def _length_problems(images: LensedImages) -> list[str]:
    n, m = len(images.family), len(images.member_x_arcsec)  # type: ignore[arg-type]
    per_image = ("x_arcsec", "y_arcsec", "position_err_arcsec", "z_source", "log_flux", "log_flux_err")
    problems = [] if n else ["there are none"]
    for name in per_image:
        if np.shape(getattr(images, name)) != (n,):
            problems.append(f"{name} has shape {np.shape(getattr(images, name))} for {n} images")
    for name in ("member_y_arcsec", "member_luminosity"):
        if np.shape(getattr(images, name)) != (m,):
            problems.append(f"{name} has shape {np.shape(getattr(images, name))} for {m} member galaxies")
    return problems


def _value_problems(images: LensedImages) -> list[str]:
    problems = []
    for name in ("x_arcsec", "y_arcsec", "member_x_arcsec", "member_y_arcsec"):
        if not np.isfinite(getattr(images, name)).all():
            problems.append(f"{name} has values that are not finite")
    for name in ("position_err_arcsec", "member_luminosity"):
        value = getattr(images, name)
        if not (np.isfinite(value) & (value > 0)).all():
            problems.append(f"{name} has values that are not positive")
    measured = np.isfinite(images.log_flux)  # type: ignore[arg-type]
    if not (np.isfinite(images.log_flux_err) & (images.log_flux_err > 0))[measured].all():  # type: ignore[operator,arg-type]
        problems.append("log_flux_err is not positive where log_flux is measured")
    if not (np.isfinite(images.z_lens) and images.z_lens > 0):
        problems.append(f"z_lens = {images.z_lens!r} is not a redshift")
    elif not (np.isfinite(images.z_source) & (images.z_source > images.z_lens)).all():
        wrong = np.unique(images.family[~(images.z_source > images.z_lens)]).tolist()
        problems.append(f"the sources of {wrong} are not behind the lens at z = {images.z_lens:g}")
    return problems


def _family_problems(images: LensedImages) -> list[str]:
    problems = []
    for name in images.names:
        mine = images.family == name
        if mine.sum() == 1:
            problems.append(f"family {name} has a single image, which constrains nothing: leave it out or find another")
        if len(np.unique(images.z_source[mine])) > 1:
            problems.append(f"family {name} has images at different z_source; one source has one redshift")
        places = np.stack([images.x_arcsec[mine], images.y_arcsec[mine]], axis=1)
        if len(np.unique(places, axis=0)) < mine.sum():
            problems.append(f"family {name} lists an image twice; every image of a family counts once")
    return problems


class ImageArrays(NamedTuple):
    """``LensedImages`` as arrays that JAX can trace, padded with images, families and galaxies of no weight so that
    clusters of like size share a compiled program.

    x, y, err, weight, ratio, log_flux, flux_weight (n,), the last two None where no flux is measured; member_of (n, f),
    0 or 1; family_present (f,); galaxy_x, galaxy_y, luminosity, brightest (m,), luminosity 0 where there is none.
    """

    x: Any
    y: Any
    err: Any
    weight: Any
    ratio: Any
    log_flux: Any
    flux_weight: Any
    member_of: Any
    family_present: Any
    galaxy_x: Any
    galaxy_y: Any
    luminosity: Any
    brightest: Any


def image_arrays(images: LensedImages, *, options: ClusterLensOptions) -> ImageArrays:
    """The padded arrays (float64, numpy). Raises CatalogueError where options.z_reference is not behind the lens."""
    if not options.z_reference > images.z_lens:
        raise CatalogueError(
            f"z_reference = {options.z_reference:g} is not behind the lens at z = {images.z_lens:g}: Einstein radii "
            "are quoted for a source there"
        )
    n, m, names = len(images.family), len(images.member_x_arcsec), images.names  # type: ignore[arg-type]
    rows, columns, galaxies = (-(-max(size, 1) // block) * block for size, block in ((n, 24), (len(names), 4), (m, 16)))

    def filled(values: ArrayLike, size: int, value: float) -> NDArray[np.float64]:
        values = np.asarray(values, dtype=np.float64)
        return np.concatenate([values, np.full(size - len(values), value)])

    reference = distance_ratio(images.z_lens, options.z_reference, options=options)
    ratio = distance_ratio(images.z_lens, images.z_source, options=options) / reference
    measured = np.isfinite(images.log_flux)  # type: ignore[arg-type]
    flux_weight = np.where(measured, 1.0 / np.where(measured, images.log_flux_err, 1.0) ** 2, 0.0)  # type: ignore[arg-type]
    log_flux = filled(np.where(measured, images.log_flux, 0.0), rows, 0.0)  # type: ignore[arg-type]
    member_of = np.zeros((rows, columns))
    member_of[np.arange(n), np.searchsorted(names, images.family)] = 1.0
    far = 3.0 * float(np.hypot(images.x_arcsec, images.y_arcsec).max()) + 10.0
    fluxes = (log_flux, filled(flux_weight, rows, 0.0)) if measured.any() else (None, None)
    return ImageArrays(
        filled(images.x_arcsec, rows, far), filled(images.y_arcsec, rows, far),
        filled(images.position_err_arcsec, rows, 1.0), filled(np.ones(n), rows, 0.0), filled(ratio, rows, 0.5),
        fluxes[0], fluxes[1], member_of, filled(np.ones(len(names)), columns, 0.0),
        filled(images.member_x_arcsec, galaxies, far), filled(images.member_y_arcsec, galaxies, far),  # type: ignore[arg-type]
        filled(images.member_luminosity, galaxies, 0.0), (np.arange(galaxies) == 0).astype(np.float64),  # type: ignore[arg-type]
    )  # fmt: skip


def angular_distances_mpc(z_lens: ArrayLike, z_source: ArrayLike, *, options: ClusterLensOptions) -> tuple[Any, ...]:
    """Angular-diameter distances (D_l, D_s, D_ls) [Mpc] of flat LambdaCDM."""
    z_lens, z_source = np.asarray(z_lens, dtype=np.float64), np.asarray(z_source, dtype=np.float64)
    cosmology = CatalogueFeatureOptions(omega_m=options.omega_m, h0_km_s_mpc=options.h0_km_s_mpc)
    near, far = (comoving_distance_mpc(z, options=cosmology) for z in (z_lens, z_source))
    return near / (1.0 + z_lens), far / (1.0 + z_source), (far - near) / (1.0 + z_source)


def distance_ratio(z_lens: ArrayLike, z_source: ArrayLike, *, options: ClusterLensOptions) -> Any:
    """D_ls / D_s, by which deflections scale."""
    _, source, between = angular_distances_mpc(z_lens, z_source, options=options)
    return between / source


def critical_mass_per_arcsec2(z_lens: float, z_source: float, *, options: ClusterLensOptions) -> float:
    """Sigma_cr D_l^2 [solar masses per arcsec^2]: c^2 D_s D_l / (4 pi G D_ls)."""
    lens, source, between = angular_distances_mpc(z_lens, z_source, options=options)
    mass = _LIGHT_M_S**2 / (4.0 * np.pi * _GM_SUN) * float(source * lens / between) * _MPC_M
    return mass / ARCSEC_PER_RAD**2


def time_delay_days_per_arcsec2(z_lens: float, z_source: ArrayLike, *, options: ClusterLensOptions) -> Any:
    """(1 + z_l) D_l D_s / (c D_ls) [days per arcsec^2], the factor of the Fermat potential."""
    lens, source, between = angular_distances_mpc(z_lens, z_source, options=options)
    return (1.0 + z_lens) * lens * source / between * _MPC_M / _LIGHT_M_S / _DAY_S / ARCSEC_PER_RAD**2
