"""Multiple images are checked before they are modelled, and distances are astropy's."""

import numpy as np
import pytest

from skytrace.clusters.modelling_images import (
    LensedImages,
    angular_distances_mpc,
    critical_mass_per_arcsec2,
    image_arrays,
    time_delay_days_per_arcsec2,
)
from skytrace.clusters.modelling_mass import lens_parameter_names
from skytrace.clusters.modelling_options import ClusterLensOptions, FreeFormOptions, LensSamplerOptions
from skytrace.clusters.modelling_search import check_constrained, find_mode
from skytrace.errors import CatalogueError, OptionError

OPTIONS = ClusterLensOptions()


def quad(**changes):
    columns = {
        "family": np.array([7, 7, 7, 7]), "x_arcsec": np.array([20.0, -18.0, 1.0, 2.0]),
        "y_arcsec": np.array([1.0, 2.0, 17.0, -16.0]), "position_err_arcsec": 0.3, "z_source": 2.0, "z_lens": 0.4,
    }  # fmt: skip
    return LensedImages(**(columns | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": np.array([7, 7, 7, 8])}, "family 8 has a single image"),
        ({"x_arcsec": np.array([20.0, 20.0, 1, 2]), "y_arcsec": np.array([1.0, 1, 17, -16])}, "lists an image twice"),
        ({"z_source": 0.3}, r"sources of \[7\] are not behind the lens at z = 0.4"),
        ({"z_source": 0.4}, "not behind the lens"),
        ({"z_source": np.array([1.0, 1.0, 1.0, 2.0])}, "one source has one redshift"),
        ({"z_lens": 0.0}, "not a redshift"),
        ({"position_err_arcsec": 0.0}, "position_err_arcsec has values that are not positive"),
        ({"x_arcsec": np.array([1.0, 2.0])}, r"x_arcsec has shape \(2,\) for 4 images"),
        ({"y_arcsec": np.array([1.0, np.nan, 3.0, 4.0])}, "not finite"),
        ({"log_flux": np.zeros(4)}, "log_flux_err is not positive"),
        ({"member_x_arcsec": np.zeros(2), "member_y_arcsec": np.zeros(2)}, "for 2 member galaxies"),
    ],
)
def test_what_cannot_be_modelled_is_named(changes, words):
    with pytest.raises(CatalogueError, match=words):
        quad(**changes)


def test_fewer_constraints_than_parameters_are_refused_and_counted():
    images = quad()
    assert images.n_constraints == 6  # 4 images in two coordinates, less the source's
    with pytest.raises(CatalogueError, match="4 images of 1 sources make 6 constraints for 8 free parameters"):
        find_mode(images, options=OPTIONS)
    fixed = ClusterLensOptions(shear_sigma=0.0)
    check_constrained(images, lens_parameter_names(fixed, n_members=0), options=fixed)
    lenient = ClusterLensOptions(count_priors=True)
    check_constrained(images, lens_parameter_names(lenient, n_members=0), options=lenient)
    fluxes = quad(log_flux=np.array([0.0, 1.0, np.nan, 0.5]), log_flux_err=0.2)
    assert fluxes.n_constraints == 6 + 2


def test_a_reference_before_the_lens_and_options_out_of_range_are_refused():
    with pytest.raises(CatalogueError, match=r"z_reference = 0.3 is not behind the lens"):
        image_arrays(quad(), options=ClusterLensOptions(z_reference=0.3))
    for wrong in ({"halo": "point"}, {"ellipticity_sigma": 0.9}, {"halo_theta_e_low_arcsec": 80.0}):
        with pytest.raises(OptionError):
            ClusterLensOptions(**wrong)
    with pytest.raises(OptionError, match="n_chains"):
        LensSamplerOptions(n_chains=1)
    with pytest.raises(OptionError, match="slopes"):
        FreeFormOptions(slopes=())


def test_distances_masses_and_delays_are_astropys():
    from astropy import constants, units
    from astropy.cosmology import FlatLambdaCDM

    peer = FlatLambdaCDM(H0=70.0, Om0=0.3, Tcmb0=0.0)
    lens, source = peer.angular_diameter_distance(0.4), peer.angular_diameter_distance(2.0)
    between = (peer.comoving_distance(2.0) - peer.comoving_distance(0.4)) / 3.0
    ours = angular_distances_mpc(0.4, 2.0, options=OPTIONS)
    np.testing.assert_allclose(ours, [one.to_value("Mpc") for one in (lens, source, between)], rtol=5e-6)
    arcsec = (1.0 * units.arcsec).to_value(units.rad)
    mass = constants.c**2 / (4 * np.pi * constants.G) * source * lens / between * arcsec**2
    assert critical_mass_per_arcsec2(0.4, 2.0, options=OPTIONS) == pytest.approx(mass.to_value("Msun"), rel=1e-4)
    delay = (1.4 * lens * source / between / constants.c * arcsec**2).to_value("day")
    assert time_delay_days_per_arcsec2(0.4, 2.0, options=OPTIONS) == pytest.approx(delay, rel=1e-6)


def test_padding_adds_no_weight_and_the_ratio_is_that_of_the_reference():
    arrays = image_arrays(quad(member_x_arcsec=[0.0], member_y_arcsec=[0.0], member_luminosity=[3.0]), options=OPTIONS)
    assert arrays.weight.sum() == 4 and arrays.member_of.sum() == 4 and arrays.family_present.sum() == 1
    assert arrays.luminosity.sum() == 3.0 and arrays.log_flux is None
    np.testing.assert_allclose(arrays.ratio[:4], 1.0, rtol=1e-12)
