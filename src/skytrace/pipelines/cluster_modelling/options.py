"""Options of cluster_modelling's glue: which candidates are modelled, and where their models are kept. Imports nothing
heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import check_between, check_whole

__all__ = ["SystemOptions"]


@dataclass(frozen=True)
class SystemOptions:
    """folder: of the models, one file a system. candidates: best-ranked fields whose identified images are asked for;
    known lenses count too where known_lenses is set. least_families, least_images: of a system that is modelled.
    most_systems: the best-ranked of them. drawn: of these, on the figure. emcee_steps: of each walker of the check.
    curve_cells: of the grid of the critical curves that are drawn.
    """

    folder: str
    candidates: int = 100
    known_lenses: bool = False
    least_families: int = 2
    least_images: int = 7
    most_systems: int = 8
    drawn: int = 4
    emcee_steps: int = 3000
    curve_cells: int = 160

    def __post_init__(self) -> None:
        check_whole("candidates", self.candidates, 1, 10**6)
        check_whole("least_families", self.least_families, 1, 100)
        check_whole("least_images", self.least_images, 2, 1000)
        check_whole("most_systems", self.most_systems, 1, 10_000)
        check_whole("drawn", self.drawn, 1, 12)
        check_whole("emcee_steps", self.emcee_steps, 30, 10**7)
        check_between("curve_cells", self.curve_cells, 16, 4096)
