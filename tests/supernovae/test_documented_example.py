"""The Python of docs/supernova.md, as it stands there, goes from light curves to a posterior that holds the truth."""

import re

import numpy as np


def test_the_documented_steps_account_for_every_supernova_and_find_the_simulated_truth(repository, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (repository / "docs/supernova.md").read_text(), flags=re.DOTALL)
    made: dict = {}
    exec(compile(code, "docs/supernova.md", "exec"), made)
    hubble, left_out, truth = made["hubble"], made["left_out"], made["survey"].truth()
    assert len(hubble) + len(left_out) + made["ledger"]["supernovae_removed"].sum() == len(truth) == 300
    assert len(made["rejected"]) == 0
    off = hubble["mu_mag"] - hubble["snid"].map(truth.set_index("snid")["mu_mag"])
    pull = off / hubble["mu_err_mag"]
    assert abs(off.mean()) < 4.0 * off.std() / np.sqrt(len(off))
    assert 0.8 < pull.std() < 1.2
    omega_m = made["omega_m"]
    assert abs(omega_m.mean() - 0.31) < 3.0 * omega_m.std() < 0.15
    assert made["posterior"].failures == ()
    printed = capsys.readouterr().out.removeprefix("Omega_M = ").strip()
    assert f"It prints {printed} of a simulated 0.31" in (repository / "docs/supernova.md").read_text()
