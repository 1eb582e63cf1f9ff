"""The recipe of docs/real_data.md makes the table that the survey reads."""

import numpy as np
import pandas as pd

from skytrace.surveys.legacy_survey.lenses import lens_table, read_lens_catalog

CSV = """name,RA [deg],DEC [deg],zlens,type,grading,ref
one,10.0,0.0,0.5,galaxy,confident,Talbot et al. (2022) - arXiv:2206.09902
one again,10.0005,0.0,-,galaxy,probable,Gonzalez et al. (2001) - arXiv:astro-ph/0106055 | Huang et al. (2021)
cluster,20.0,0.0,0.3,galaxy,probable,Lopes et al. (2004) - doi:10.1086/423038 | Ebeling et al. (1998) - x
elsewhere,30.0,-45.0,-,group,confident,B\\"ohringer et al. (2011) - a lens paper
"""


def test_the_recipe_of_the_page_makes_the_table_that_the_survey_reads(repository, tmp_path, monkeypatch):
    page = (repository / "docs/real_data.md").read_text(encoding="utf-8")
    recipe = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "catalog.csv").write_text(CSV)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path / "sky"))
    exec(compile(recipe, "docs/real_data.md", "exec"), {})
    table = read_lens_catalog(tmp_path / "sky/imaging/catalogs/lens_catalog.parquet")
    assert table["cluster_survey_only"].tolist() == [False, False, True, False]
    assert table["system_id"].tolist() == ["L010.00000+00.00000"] * 2 + ["L020.00000+00.00000", "L030.00000-45.00000"]
    galaxies = pd.DataFrame({"galaxy_id": ["g"], "ra": [10.0], "dec": [0.0]})
    lenses = lens_table(table, galaxies, anchor_fraction=1.0).set_index("lens_id")
    assert lenses["tier"].to_dict() == {"L010.00000+00.00000": "confirmed", "L030.00000-45.00000": "B"}
    assert lenses["galaxy_id"].tolist() == ["g", ""]
    assert lenses["is_anchor"].tolist() == [True, False]
    assert np.isnan(lenses["theta_e_arcsec"]).all()
