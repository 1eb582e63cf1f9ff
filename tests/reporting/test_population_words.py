"""Whatever prior decides the number is in the words: none can be changed without a reader seeing it."""

from dataclasses import fields

import pytest

from skytrace.lensing.population import PopulationOptions
from skytrace.reporting.population_words import population_words
from skytrace.selection.hosts import HostOptions
from skytrace.sky import SelectionOptions

#: Not priors of the number: where the stamps lie (their checksum names them), and the draw by hash.
UNSEEN = ("source_library", "source_library_checksum", "exclusion_radius_arcsec", "seed")


def words(**known) -> str:
    return " ".join(f"{name}: {text}" for name, text in population_words(known))


def metadata() -> dict:
    population, hosts = vars(PopulationOptions()), vars(HostOptions())
    return {"population": {**population}, "hosts": {**hosts}, "host_selection": vars(SelectionOptions())}


@pytest.mark.parametrize(
    ("part", "name"),
    [(part, field.name) for part, kind in (("population", PopulationOptions), ("hosts", HostOptions))
     for field in fields(kind) if field.name not in UNSEEN],
)  # fmt: skip
def test_every_choice_shows(part, name):
    known = metadata()
    plain = words(**known)
    if name == "minimum_magnification":
        known["population"]["position_rule"] = "magnification"
        plain = words(**known)
    value = known[part][name]
    other = {"multiply_imaged": "magnification", "test": "any", None: 1.1}.get(value)
    if other is None:
        other = (not value) if isinstance(value, bool) else value * 2 if value else 1.0
    if name == "image_share":
        known["population"]["source_library_checksum"] = "0123456789abcdef"
    known[part][name] = other
    assert words(**known) != plain


def test_the_default_of_the_design_is_said_in_its_units():
    said = words(**metadata())
    for piece in (
        "r = 22 to 26 AB before lensing, numbers rising as 10^(0.33 m)",
        'half-light radius 0.28" in the median at r = 24',
        "g-r 0.3 with scatter 0.25", "50% of them with 5 clumps", "Tractor types SER, DEV, REX, z < 20 AB",
        "detector's test split", "any colour",
    ):  # fmt: skip
        assert piece in said
