"""What can be chosen about the models of a lensing cluster and how they are fitted. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_choice, check_whole

__all__ = ["ClusterLensOptions", "FreeFormOptions", "LensSamplerOptions"]


@dataclass(frozen=True)
class ClusterLensOptions:
    """Mass model and priors of one cluster. A width (scatter, sigma) of 0 fixes the parameter at its prior's middle.

    z_reference: source redshift for which every Einstein radius is quoted. halo: "nfw" (ellipticity in the potential)
    or "cored" (cored isothermal, likewise). halo_theta_e_low_arcsec to high: log-uniform prior of the round halo's own
    Einstein radius. nfw_scale_arcsec, core_arcsec: medians of r_s or of the core, with halo_scale_scatter (of ln).
    halo_centre_sigma_arcsec: about the origin (the brightest galaxy). ellipticity_sigma: of each component, below 0.35
    in all. member_theta_e_arcsec, member_truncation_arcsec: of a galaxy of luminosity L*, with scatters (of ln);
    faber_jackson_slope, truncation_slope: sigma ~ L^slope and truncation ~ L^slope. brightest_scatter: of ln of the
    factor by which the brightest galaxy's theta_E departs from that. shear_sigma: of each component.
    likelihood: "image" (predicted images by Newton's method), "linear" (image-plane chi2 of first order) or "source".
    magnification_max: beyond which an image counts as if it had this one. count_priors: whether an informative prior
    counts as one constraint when parameters and constraints are compared. omega_m, h0_km_s_mpc: flat LambdaCDM.
    """

    z_reference: float = 2.0
    halo: str = "nfw"
    halo_theta_e_low_arcsec: float = 2.0
    halo_theta_e_high_arcsec: float = 70.0
    nfw_scale_arcsec: float = 60.0
    core_arcsec: float = 5.0
    halo_scale_scatter: float = 0.4
    halo_centre_sigma_arcsec: float = 1.5
    ellipticity_sigma: float = 0.1
    member_theta_e_arcsec: float = 1.0
    member_scatter: float = 0.3
    member_truncation_arcsec: float = 10.0
    member_truncation_scatter: float = 0.4
    faber_jackson_slope: float = 0.25
    truncation_slope: float = 0.5
    brightest_scatter: float = 0.3
    shear_sigma: float = 0.04
    likelihood: str = "image"
    magnification_max: float = 200.0
    count_priors: bool = False
    omega_m: float = 0.3
    h0_km_s_mpc: float = 70.0

    def __post_init__(self) -> None:
        check_choice("halo", self.halo, ("nfw", "cored"))
        check_choice("likelihood", self.likelihood, ("image", "linear", "source"))
        check_between("z_reference", self.z_reference, 0.01, 20.0)
        check_between("halo_theta_e_low_arcsec", self.halo_theta_e_low_arcsec, 0.1, 200.0)
        check_between("halo_theta_e_high_arcsec", self.halo_theta_e_high_arcsec, 0.1, 200.0)
        if self.halo_theta_e_low_arcsec >= self.halo_theta_e_high_arcsec:
            raise OptionError("halo_theta_e_low_arcsec must be below halo_theta_e_high_arcsec")
        for name in ("nfw_scale_arcsec", "core_arcsec", "member_theta_e_arcsec", "member_truncation_arcsec"):
            check_between(name, getattr(self, name), 1e-3, 1e3)
        for name in ("halo_scale_scatter", "member_scatter", "member_truncation_scatter", "brightest_scatter"):
            check_between(name, getattr(self, name), 0.0, 2.0)
        check_between("halo_centre_sigma_arcsec", self.halo_centre_sigma_arcsec, 0.0, 30.0)
        check_between("ellipticity_sigma", self.ellipticity_sigma, 0.0, 0.3)
        check_between("shear_sigma", self.shear_sigma, 0.0, 0.3)
        check_between("faber_jackson_slope", self.faber_jackson_slope, 0.0, 1.0)
        check_between("truncation_slope", self.truncation_slope, 0.0, 2.0)
        check_between("magnification_max", self.magnification_max, 10.0, 1e6)
        check_between("omega_m", self.omega_m, 0.01, 1.0)
        check_between("h0_km_s_mpc", self.h0_km_s_mpc, 30.0, 120.0)


@dataclass(frozen=True)
class LensSamplerOptions:
    """n_starts: of the search for the mode, drawn from the prior. n_chains x (n_warmup + n_samples) of NUTS, of
    target_accept and max_tree_depth. r_hat_max, ess_min, divergent_share_max: what a run must reach to be called
    converged; a few divergences there are at the walls beyond which an observed image has no counterpart in the model.
    n_derived: draws of which critical curves and what follows from them are computed.
    """

    n_starts: int = 24
    n_chains: int = 4
    n_warmup: int = 300
    n_samples: int = 500
    target_accept: float = 0.8
    max_tree_depth: int = 7
    r_hat_max: float = 1.02
    ess_min: float = 400.0
    divergent_share_max: float = 0.02
    n_derived: int = 200
    seed: int = 42

    def __post_init__(self) -> None:
        check_whole("n_starts", self.n_starts, 1, 10_000)
        check_whole("n_chains", self.n_chains, 2, 100)
        check_whole("n_warmup", self.n_warmup, 10, 10**6)
        check_whole("n_samples", self.n_samples, 10, 10**6)
        check_between("target_accept", self.target_accept, 0.5, 0.999)
        check_whole("max_tree_depth", self.max_tree_depth, 1, 15)
        check_between("r_hat_max", self.r_hat_max, 1.0, 2.0)
        check_between("ess_min", self.ess_min, 1.0, 1e9)
        check_between("divergent_share_max", self.divergent_share_max, 0.0, 1.0)
        check_whole("n_derived", self.n_derived, 2, 10**6)
        check_whole("seed", self.seed, 0, 2**31 - 1)


@dataclass(frozen=True)
class FreeFormOptions:
    """The pixelised model. cells: along an axis of the square grid, which reaches box_over_radius times as far as the
    outermost image. slopes: of the round power laws kappa0 ~ R^-slope about which the grid departs, one member of the
    ensemble each: what the images do not say, it takes from there. departure_sigma: of the prior of kappa / kappa0 - 1,
    correlated over correlation_over_radius times the mean radius of the images. model_err_arcsec: added to the images'
    errors for what a grid of cells cannot follow. iterations: of the magnifications that weigh the images.
    n_draws: of each member of the ensemble.
    """

    cells: int = 28
    box_over_radius: float = 1.6
    slopes: tuple[float, ...] = (0.6, 0.8, 1.0, 1.2)
    departure_sigma: float = 0.4
    correlation_over_radius: float = 0.35
    shear_sigma: float = 0.05
    model_err_arcsec: float = 0.3
    iterations: int = 6
    n_draws: int = 32

    def __post_init__(self) -> None:
        check_whole("cells", self.cells, 8, 100)
        check_between("box_over_radius", self.box_over_radius, 1.1, 5.0)
        if not self.slopes:
            raise OptionError("slopes = () names no round profile; give at least one between 0.1 and 1.9")
        for slope in self.slopes:
            check_between("slopes", slope, 0.1, 1.9)
        check_between("departure_sigma", self.departure_sigma, 1e-3, 2.0)
        check_between("correlation_over_radius", self.correlation_over_radius, 0.05, 5.0)
        check_between("shear_sigma", self.shear_sigma, 1e-4, 0.5)
        check_between("model_err_arcsec", self.model_err_arcsec, 0.0, 10.0)
        check_whole("iterations", self.iterations, 1, 100)
        check_whole("n_draws", self.n_draws, 1, 10_000)
