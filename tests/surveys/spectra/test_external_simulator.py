"""An external simulator: what it is told, and what becomes of each way in which it can fail."""

import csv
import io
import json
import os
import stat
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from skytrace.errors import OptionError, SimulatorError, SurveyError
from skytrace.spectra.composition import COMPOSITION_Z
from skytrace.spectra.ejecta import ejecta_zones
from skytrace.surveys.spectra.external_options import ExternalSimulatorOptions
from skytrace.surveys.spectra.external_simulator import external_fingerprint, simulate_externally
from tests.spectra.test_ejecta import MODEL, table

DOUBLE = Path(__file__).with_name("external_double.py")


@pytest.fixture
def setup(tmp_path):
    """Options of the stand-in, its behaviour and any other option by keyword."""
    reference = tmp_path / "reference"
    reference.mkdir()
    (reference / "line_list.csv").write_text("wavelength,f\n1.0,2.0\n3.0,4.0\n")
    (reference / "density.csv").write_text("of the reference model, not to be linked\n")

    def options(kind, *, behaviour=None, **others):
        text = json.dumps({"kind": kind, "marker": str(tmp_path / "marker")} | (behaviour or {}))
        (reference / "behaviour.json").write_text(text)
        fields = {"executable": str(DOUBLE), "reference_folder": str(reference), "work_folder": str(tmp_path / "work"),
                  "timeout_s": 60.0, "attempts": 1, "packets": 1234, "iterations": 7}  # fmt: skip
        return ExternalSimulatorOptions(**(fields | others))

    return options


def _log(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_spectrum_has_the_luminosity_and_the_color_that_the_program_was_told(setup):
    found = simulate_externally(table(), 5, options=setup("good"))
    luminosity = np.trapezoid(found.luminosity[0], found.wavelength_angstrom)
    assert luminosity == pytest.approx(10.0 ** MODEL["log_L"], rel=1e-3)
    core_cm = MODEL["v_inner"] * 1e5 * MODEL["t_exp"] * 86_400.0
    t_inner = (10.0 ** MODEL["log_L"] / (4.0 * np.pi * core_cm**2 * 5.670374e-5)) ** 0.25
    peak = found.wavelength_angstrom[found.luminosity[0].argmax()]
    assert peak == pytest.approx(2.897772e7 / t_inner, rel=0.005)  # Wien
    assert found.converged[0]
    assert np.isnan(found.t_rad_k).all()


def test_the_program_gets_its_arguments_and_a_small_environment(setup, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "do not tell")
    monkeypatch.setenv("LICENSE_SERVER", "tell")
    log = tmp_path / "log"
    options = setup("good", behaviour={"log": str(log)}, mode="rotation nlte", environment=("LICENSE_SERVER", "ABSENT"))
    simulate_externally(table(), 5, options=options)
    (call,) = _log(log)
    assert call["argv"][1:] == ["1234", "7", "rotation", "nlte"]
    assert Path(call["argv"][0]).name == "model"
    assert Path(call["cwd"]).name == "run"
    assert Path(call["cwd"]).parent == Path(call["argv"][0]).parent
    added = {"PATH", "LC_ALL", "OMP_NUM_THREADS", "HOME", "TMPDIR", "LICENSE_SERVER"}
    assert set(call["environment"]) - {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"} == added


def test_the_models_files_are_those_of_the_ejecta_in_cgs(setup, tmp_path):
    log = tmp_path / "log"
    simulate_externally(table(), 5, options=setup("good", behaviour={"log": str(log)}))
    (call,) = _log(log)
    files, ejecta = call["files"], ejecta_zones(table())
    assert call["links"] == ["behaviour.json", "line_list.csv"]
    assert set(files) == {"behaviour.json", "line_list.csv", "config.json", "geometry.csv", "density.csv",
                          "abundances.csv", "electron_densities.csv", "plasma_state.csv"}  # fmt: skip

    def numbers(name):
        return np.array([list(map(float, row)) for row in list(csv.reader(io.StringIO(files[name])))[1:]])

    edges, time_s = ejecta.velocity_edges_km_s[0] * 1e5, MODEL["t_exp"] * 86_400.0
    assert files["geometry.csv"].splitlines()[0] == "shell_id,r_inner,r_outer,v_inner,v_outer"
    np.testing.assert_array_equal(
        numbers("geometry.csv"),
        np.stack([np.arange(30), edges[:-1] * time_s, edges[1:] * time_s, edges[:-1], edges[1:]], axis=1),
    )
    np.testing.assert_array_equal(numbers("density.csv")[:, 1], ejecta.density_g_cm3[0])
    abundances = numbers("abundances.csv")
    assert files["abundances.csv"].splitlines()[0] == ",".join(["atomic_number", *map(str, range(30))])
    np.testing.assert_array_equal(abundances[:, 0], COMPOSITION_Z)
    np.testing.assert_array_equal(abundances[:, 1:], ejecta.mass_fraction[0].T)
    inverse = edges[0] / (0.5 * (edges[1:] + edges[:-1]))
    configuration = json.loads(files["config.json"])
    plasma = numbers("plasma_state.csv")
    np.testing.assert_allclose(plasma[:, 1], (1.0 - np.sqrt(1.0 - inverse**2)) / 2.0, rtol=1e-14)
    np.testing.assert_allclose(plasma[:, 2], configuration.pop("T_inner_K") * inverse**0.45, rtol=1e-14)
    assert configuration == {
        "time_explosion_s": time_s, "luminosity_inner_erg_s": pytest.approx(10.0 ** MODEL["log_L"]), "n_shells": 30,
        "n_lines": 2, "n_packets": 1234, "n_iterations": 7, "seed": 5, "v_inner_min_cm_s": edges[0],
        "v_outer_max_cm_s": 3e9, "T_e_T_rad_ratio": MODEL["T_e_ratio"],
    }  # fmt: skip


def test_the_second_name_of_the_result_is_read_too(setup):
    found = simulate_externally(table(), 5, options=setup("good", behaviour={"result": "lumina_spectrum.csv"}))
    assert len(found.wavelength_angstrom) == 1000


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("crash", r"^exit status 3: reading atomic data \| FATAL: no such level in /model$"),
        ("abort", "^killed by signal 6: "),
        ("nothing", "^no result: neither lumina_spectrum_rotation.csv nor lumina_spectrum.csv"),
        ("garbage", "is garbled"),
        ("half a number", "is garbled: could not convert"),
        ("not a number", "has values that are not finite"),
        ("negative", "has negative flux"),
        ("dark", "has no flux"),
        ("truncated", "is short: 20 wavelengths"),
        ("descending", "has wavelengths that do not ascend"),
        ("elsewhere", "is not a file of its own"),
        ("hard link", "is not a file of its own"),
        ("pipe", "is not a file of its own"),
        ("another folder", "has done away with its folder"),
        ("stderr elsewhere", "^exit status 3: nothing on stderr$"),
    ],
)
def test_each_failure_has_its_reason(setup, kind, reason):
    with pytest.raises(SimulatorError, match=reason):
        simulate_externally(table(), 5, options=setup(kind))


def test_a_result_that_is_too_large_is_not_read(setup):
    with pytest.raises(SimulatorError, match="2 MB, more than max_result_mb = 1"):
        simulate_externally(table(), 5, options=setup("huge", max_result_mb=1.0))


@pytest.mark.parametrize("kind", ["large file", "many files"])
def test_a_program_that_writes_too_much_is_killed_before_the_disk_is_full(setup, tmp_path, kind):
    options = setup(kind, max_output_mb=5.0, keep_failed=True)
    with pytest.raises(SimulatorError, match=r"^wrote more than max_output_mb = 5$"):
        simulate_externally(table(), 5, options=options)
    written = sum(path.lstat().st_size for path in (tmp_path / "work").rglob("*") if path.is_file())
    assert 2e6 < written < 200e6  # of 50 MB in one file, which stops at 5 MB, and of 5000 MB in many
    if kind == "large file":
        assert written < 5.1e6


def test_without_limits_of_the_system_the_folder_is_still_measured(setup, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on a system that is not POSIX
    with pytest.raises(SimulatorError, match=r"^wrote more than max_output_mb = 5$"):
        simulate_externally(table(), 5, options=setup("large file", max_output_mb=5.0))


def test_a_file_that_is_no_program_says_so(setup, tmp_path):
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\x7fELF no program")
    nonsense.chmod(0o755)
    with pytest.raises(SimulatorError, match="the program cannot be started: Exec format error"):
        simulate_externally(table(), 5, options=setup("good", executable=str(nonsense)))


def test_a_program_that_hangs_is_killed_with_its_children(setup, tmp_path):
    with pytest.raises(SimulatorError, match=r"^timeout after 5 s$"):
        simulate_externally(table(), 5, options=setup("hang", timeout_s=5.0))
    assert _ends_within(10.0, int((tmp_path / "marker").read_text()))


def _ends_within(seconds: float, child: int) -> bool:
    """Whether a killed process is gone, or waits for its parent: on a busy machine it dies a moment after the signal."""
    state, deadline = Path(f"/proc/{child}/stat"), time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_model_that_fails_once_is_tried_again(setup, tmp_path):
    with pytest.raises(SimulatorError, match=r"^exit status 3"):
        simulate_externally(table(), 5, options=setup("second try"))
    (tmp_path / "marker").unlink()
    found = simulate_externally(table(), 5, options=setup("second try", attempts=2))
    assert found.converged[0]


def test_every_attempts_reason_is_told_once(setup):
    with pytest.raises(SimulatorError, match=r"has no flux in each of 3 attempts$"):
        simulate_externally(table(), 5, options=setup("dark", attempts=3))


def test_a_spectrum_with_other_light_than_asked_for_is_not_converged(setup):
    found = simulate_externally(table(), 5, options=setup("half the light"))
    assert found.luminosity_change[0] == pytest.approx(0.5, abs=2e-3)
    assert not found.converged[0]


def test_nothing_is_left_behind_but_what_is_asked_for(setup, tmp_path):
    work = tmp_path / "work"
    simulate_externally(table(), 5, options=setup("good", keep_failed=True))
    with pytest.raises(SimulatorError):
        simulate_externally(table(), 5, options=setup("crash"))
    assert list(work.iterdir()) == []
    with pytest.raises(SimulatorError):
        simulate_externally(table(), 5, options=setup("crash", keep_failed=True))
    (kept,) = work.iterdir()
    assert "FATAL" in (kept / "stderr.txt").read_text()
    assert sorted(path.name for path in (tmp_path / "reference").iterdir()) == [
        "behaviour.json", "density.csv", "line_list.csv",
    ]  # fmt: skip


def test_the_fingerprint_is_that_of_the_content(setup, tmp_path):
    options = setup("good")
    before = external_fingerprint(options)
    moved = tmp_path / "moved"
    (tmp_path / "reference").rename(moved)
    copy = tmp_path / "double"
    copy.write_bytes(DOUBLE.read_bytes())
    copy.chmod(copy.stat().st_mode | stat.S_IXUSR)
    elsewhere = ExternalSimulatorOptions(str(copy), str(moved), str(tmp_path))
    assert external_fingerprint(elsewhere) == before
    (moved / "line_list.csv").write_text("wavelength,f\n1.0,2.1\n3.0,4.0\n")
    assert external_fingerprint(elsewhere) != before


def test_a_program_and_a_folder_that_are_not_there_stop_everything(setup, tmp_path):
    with pytest.raises(SurveyError, match=r"executable = .*reference.* is not a program"):
        simulate_externally(table(), 5, options=setup("good", executable=str(tmp_path / "reference")))
    with pytest.raises(SurveyError, match="no folder"):
        simulate_externally(table(), 5, options=setup("good", reference_folder=str(tmp_path / "absent")))
    (tmp_path / "reference" / "line_list.csv").unlink()
    with pytest.raises(SurveyError, match="set the option lines"):
        simulate_externally(table(), 5, options=setup("good"))
    assert simulate_externally(table(), 5, options=setup("good", lines=2)).converged[0]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"attempts": 0}, "attempts = 0"),
        ({"timeout_s": 0.0}, "timeout_s = 0"),
        ({"max_output_mb": 0.0}, "max_output_mb = 0"),
        ({"mode": "rotation; rm -rf /"}, "mode = 'rotation; rm -rf /' is not one of"),
        ({"environment": ("A=B",)}, "'A=B' is no name of a variable"),
        ({"executable": " "}, "executable = ' ' is not a path"),
    ],
)
def test_options_outside_their_range_are_named(setup, others, words):
    with pytest.raises(OptionError, match=words):
        setup("good", **others)


def test_one_model_at_a_time(setup):
    two = table().iloc[[0, 0]]
    with pytest.raises(OptionError, match="one model at a time, not 2"):
        simulate_externally(two, 5, options=setup("good"))
    assert os.access(DOUBLE, os.X_OK)
