import pytest

from skytrace.audit import METADATA_COLUMNS, check_model_inputs
from skytrace.errors import LeakageError


def test_pixels_alone_pass():
    assert check_model_inputs(["stamps"]) == ("stamps",)


@pytest.mark.parametrize("column", ["label", "tier", "sample_weight", "is_anchor", "split"])
def test_a_label_among_the_inputs_fails_the_run(column):
    with pytest.raises(LeakageError, match=rf"'{column}' \(a label\)"):
        check_model_inputs(["stamps", column])


@pytest.mark.parametrize("column", ["theta_e_arcsec_injected", "source_mag_r", "magnification", "arc_snr", "is_lensed"])
def test_a_property_of_an_injection_fails_the_run(column):
    with pytest.raises(LeakageError, match="lens or an injection"):
        check_model_inputs(["stamps", column], metadata_fusion=True)


def test_every_offender_is_named_at_once():
    with pytest.raises(LeakageError, match=r"'label'.*'flux_r'"):
        check_model_inputs(["label", "stamps", "flux_r"])


def test_observing_conditions_need_metadata_fusion():
    columns = ("stamps", *METADATA_COLUMNS)
    assert check_model_inputs(columns, metadata_fusion=True) == columns
    with pytest.raises(LeakageError, match="metadata fusion only"):
        check_model_inputs(columns)
    with pytest.raises(LeakageError, match="no pixels"):
        check_model_inputs(METADATA_COLUMNS, metadata_fusion=True)
