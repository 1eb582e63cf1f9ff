"""The processor has a name on every machine."""

import platform

from skytrace.compute.processor import processor_name
from skytrace.provenance import device


def test_the_model_is_the_first_that_linux_lists(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nmodel name\t: Xeon 8175M @ 2.50GHz\n\nprocessor\t: 1\nmodel name\t: other\n")
    assert processor_name(listing) == "Xeon 8175M @ 2.50GHz"


def test_without_a_model_it_is_the_architecture(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "processor", lambda: "")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 243.75\n")  # as on many ARM machines
    for listing in (tmp_path / "cpuinfo", tmp_path / "absent"):
        assert processor_name(listing) == platform.machine() != ""


def test_the_manifest_names_it():
    assert device()["processor"] == processor_name()
