"""The deflector of docs/how_to/deflector.md: its own check holds, and so do the limits that the page asks for."""

import numpy as np
import pytest


@pytest.fixture
def deflection(repository):
    page = (repository / "docs/how_to/deflector.md").read_text(encoding="utf-8")
    names: dict = {}
    exec(compile(page.split("```python\n")[1].split("```")[0], "docs/how_to/deflector.md", "exec"), names)
    return names["point_mass_deflection"]


def test_the_deflector_of_the_page_has_no_mass_but_at_its_centre(deflection):
    x, y, h = np.array([0.3, -1.2, 2.0]), np.array([0.4, 0.5, -3.0]), 1e-5
    along = (deflection(x + h, y, 1.1)[0] - deflection(x - h, y, 1.1)[0]) / (2 * h)
    across = (deflection(x, y + h, 1.1)[1] - deflection(x, y - h, 1.1)[1]) / (2 * h)
    np.testing.assert_allclose(along + across, 0.0, atol=1e-8)  # twice the convergence
    strength = np.hypot(*deflection(x, y, 1.1)) * np.hypot(x, y)
    np.testing.assert_allclose(strength, 1.1**2, rtol=1e-12)
    assert deflection(0.0, 0.0, 1.1) == (0.0, 0.0)
    assert deflection(np.ones((2, 1)), np.ones(3), 1.0)[0].shape == (2, 3)
