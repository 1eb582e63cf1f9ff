"""The cutout service route, against a server on this machine that also misbehaves."""

import json
import threading
import time

import numpy as np
import pytest

from skytrace.errors import SurveyError
from skytrace.surveys.interface import ImagingSurvey
from skytrace.surveys.legacy_survey import LegacySurvey, LegacySurveyOptions
from skytrace.surveys.legacy_survey.download import Manifest, Request, download_all
from tests.surveys.cutout_server import serving
from tests.surveys.legacy_files import FLUX, SIGMA, answer, star_stamp, sweep_rows, write_sweep

SIZE = 61
INVVAR = np.broadcast_to((SIGMA**-2)[:, None, None], (3, SIZE, SIZE)).astype(np.float32)
FAST = {"rate_per_s": 1000.0, "backoff_s": 0.01, "backoff_max_s": 0.05, "attempts": 4, "timeout_s": 0.5, "workers": 3}


def good_answer(query=None):
    """A star whose r flux is told by the ra asked for, so that no two galaxies have the same pixels."""
    brighter = 1.0 if query is None else 1.0 + (float(query["ra"]) - 150.0)
    return answer(star_stamp(SIZE) * brighter, INVVAR, np.zeros((SIZE, SIZE), dtype=np.int16))


@pytest.fixture
def sky(tmp_path, monkeypatch):
    """(server, survey, rows) of five galaxies under a data root of the test's own."""
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    rows = sweep_rows(5)
    write_sweep(tmp_path / "legacy_survey" / "sweeps" / "sweep-150p000-160p005.fits", rows)
    with serving(good_answer) as server:
        yield server, LegacySurvey({"base_url": server.url, **FAST}), rows


def ids_of(rows):
    return [f"10000-333333-{objid}" for objid in rows["objid"]]


def ra_key(rows, k):
    return f"{rows['ra'][k]:.7f}"


def test_cutouts_are_the_served_pixels_in_the_order_asked_for(sky):
    _, survey, rows = sky
    order = [3, 0, 4]
    batch = survey.cutouts([ids_of(rows)[k] for k in order], size=SIZE)
    assert isinstance(survey, ImagingSurvey)
    assert batch.galaxy_id.tolist() == [ids_of(rows)[k] for k in order]
    for stamp, k in zip(batch.image, order, strict=True):
        np.testing.assert_allclose(stamp, star_stamp(SIZE) * (1 + 0.002 * k), rtol=2e-5)
    np.testing.assert_array_equal(batch.invvar[0], INVVAR)
    np.testing.assert_allclose(batch.psf.fwhm_arcsec, 1.2 * 0.81127, rtol=1e-4)


def test_aperture_flux_of_a_served_star_is_its_total_flux_within_one_percent(sky):
    _, survey, rows = sky
    stamp = survey.cutouts(ids_of(rows)[:1], size=SIZE).image[0]
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    measured = stamp[:, np.hypot(x, y) <= 28].sum(axis=1)
    np.testing.assert_allclose(measured, FLUX, rtol=0.01)


def test_request_is_the_documented_one(sky):
    server, survey, rows = sky
    survey.cutouts(ids_of(rows)[:1], size=SIZE)
    path, query = server.requests[0]
    assert path == "/viewer/fits-cutout"
    assert {key: query[key] for key in ("size", "layer", "pixscale", "bands", "invvar", "maskbits")} == {
        "size": str(SIZE), "layer": "ls-dr10", "pixscale": "0.262", "bands": "grz", "invvar": "", "maskbits": "",
    }  # fmt: skip
    assert float(query["ra"]) == pytest.approx(rows["ra"][0], abs=1e-7)


@pytest.mark.parametrize(
    "trouble", [["500", "503"], ["429"], ["truncated"], ["short"], ["slow"], ["truncated", "500", "slow"]]
)
def test_passing_trouble_is_retried_until_the_pixels_are_whole(sky, trouble):
    server, survey, rows = sky
    server.script[ra_key(rows, 1)] = list(trouble)
    batch = survey.cutouts(ids_of(rows)[:3], size=SIZE)
    np.testing.assert_allclose(batch.image[1], star_stamp(SIZE) * 1.002, rtol=2e-5)
    assert len(server.requests) == 3 + len(trouble)


def test_permanent_refusal_names_the_galaxy_is_asked_once_and_loses_no_other(sky):
    server, survey, rows = sky
    server.script[ra_key(rows, 2)] = ["404"] * 9
    with pytest.raises(SurveyError, match=r"10000-333333-9: HTTP 404.*1 of 5 failed"):
        survey.cutouts(ids_of(rows), size=SIZE)
    assert sum(query["ra"] == ra_key(rows, 2) for _, query in server.requests) == 1
    server.script.clear()
    survey.cutouts(ids_of(rows), size=SIZE)
    assert len(server.requests) == 6  # five, and the one that had failed


def test_trouble_that_lasts_ends_after_the_stated_attempts(sky):
    server, survey, rows = sky
    server.script[ra_key(rows, 0)] = ["500"] * 99
    with pytest.raises(SurveyError, match=r"10000-333333-7: HTTP 500 \(after 4 attempts\)"):
        survey.cutouts(ids_of(rows)[:1], size=SIZE)
    assert len(server.requests) == 4
    assert list(survey.cutout_folder.glob("*.fits")) == []


@pytest.mark.parametrize("kind", ["declared", "endless"])
def test_answer_beyond_the_limit_is_refused_at_once_and_leaves_nothing(sky, kind):
    server, _, rows = sky
    survey = LegacySurvey({"base_url": server.url, **FAST, "timeout_s": 5.0, "max_response_mb": 1.0})
    server.script[ra_key(rows, 0)] = [kind] * 9
    with pytest.raises(SurveyError, match="limit of 1000000"):
        survey.cutouts(ids_of(rows)[:1], size=SIZE)
    assert len(server.requests) == 1
    assert {path.name for path in survey.cutout_folder.iterdir()} <= {"manifest.jsonl"}


def test_bands_are_ordered_by_the_header_never_by_place(sky):
    server, survey, rows = sky
    swapped = answer(star_stamp(SIZE)[[2, 1, 0]], INVVAR[[2, 1, 0]], bands="zrg")
    server.script[ra_key(rows, 0)] = [swapped]
    batch = survey.cutouts(ids_of(rows)[:1], size=SIZE)
    np.testing.assert_allclose(batch.image[0], star_stamp(SIZE), rtol=1e-6)
    np.testing.assert_array_equal(batch.invvar[0], INVVAR)


def test_a_fourth_band_is_left_out(sky):
    server, survey, rows = sky
    image = star_stamp(SIZE)
    served = answer(np.insert(image, 2, 99.0, axis=0), np.insert(INVVAR, 2, 5.0, axis=0), bands="griz")
    server.script[ra_key(rows, 0)] = [served]
    np.testing.assert_allclose(survey.cutouts(ids_of(rows)[:1], size=SIZE).image[0], image, rtol=1e-6)


BAD = {
    "missing band": (answer(star_stamp(SIZE)[:2], INVVAR[:2], bands="gr"), "band z is missing"),
    "contradicting header": (answer(star_stamp(SIZE), INVVAR, listed="gzr"), "BANDS grz but BAND0.. gzr"),
    "no bands": (answer(star_stamp(SIZE), bands=""), "no BANDS"),
    "all zero": (answer(np.zeros((3, SIZE, SIZE), dtype=np.float32)), "no overlap"),
    "all nan": (answer(np.full((3, SIZE, SIZE), np.nan, dtype=np.float32)), "no overlap"),
    "wrong size": (answer(star_stamp(51)), r"image shape \(3, 51, 51\) is not \(3, 61, 61\)"),
    "wrong scale": (answer(star_stamp(SIZE), header={"CD2_2": 0.4 / 3600}), "pixel scale 0.4 arcsec"),
    "negative invvar": (answer(star_stamp(SIZE), -INVVAR), "negative"),
    "html": (b"<html>No overlap</html>" * 200, "not FITS"),
    "nothing": (b"", "not FITS"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_answer_that_is_not_the_sky_asked_for_names_the_galaxy_and_is_not_kept(sky, case):
    server, survey, rows = sky
    content, message = BAD[case]
    server.script[ra_key(rows, 0)] = [content] * 9
    with pytest.raises(SurveyError, match=rf"10000-333333-7: .*{message}"):
        survey.cutouts(ids_of(rows)[:1], size=SIZE)
    assert list(survey.cutout_folder.glob("*.fits")) == []


def test_nan_pixels_become_pixels_without_data(sky):
    server, survey, rows = sky
    image = star_stamp(SIZE)
    image[1, 30, 30] = np.nan
    server.script[ra_key(rows, 0)] = [answer(image, INVVAR)]
    batch = survey.cutouts(ids_of(rows)[:1], size=SIZE)
    assert batch.image[0, 1, 30, 30] == 0 and batch.invvar[0, 1, 30, 30] == 0
    assert batch.maskbits[0, 30, 30] == 1 << 6
    assert np.count_nonzero(batch.invvar[0] == 0) == 1


def test_without_invvar_the_catalogues_depth_gives_the_sky_weight(sky):
    server, survey, rows = sky
    server.script[ra_key(rows, 0)] = [answer(star_stamp(SIZE))]
    invvar = survey.cutouts(ids_of(rows)[:1], size=SIZE).invvar[0]
    neff = 4 * np.pi * (1.2 / 2.35482 / 0.262) ** 2
    np.testing.assert_allclose(invvar[1], rows["psfdepth_r"][0] * neff, rtol=1e-5)


def test_rerun_asks_for_nothing_and_gives_the_same_bytes(sky):
    server, survey, rows = sky
    first = survey.cutouts(ids_of(rows), size=SIZE)
    asked = len(server.requests)
    again = LegacySurvey(survey.options).cutouts(ids_of(rows), size=SIZE)
    assert len(server.requests) == asked == 5
    np.testing.assert_array_equal(first.image, again.image)


def test_manifest_lists_url_bytes_and_sha256_of_every_file(sky):
    import hashlib

    _, survey, rows = sky
    survey.cutouts(ids_of(rows), size=SIZE)
    lines = [json.loads(line) for line in (survey.cutout_folder / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 5
    for line in lines:
        content = (survey.cutout_folder / line["file"]).read_bytes()
        assert line["sha256"] == hashlib.sha256(content).hexdigest() and line["bytes"] == len(content)
        assert "fits-cutout?ra=" in line["url"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "removed"])
def test_a_file_that_differs_from_the_manifest_is_fetched_again(sky, damage):
    server, survey, rows = sky
    survey.cutouts(ids_of(rows), size=SIZE)
    victim = next(survey.cutout_folder.glob("10000-333333-8_*.fits"))
    content = bytearray(victim.read_bytes())
    if damage == "flipped":
        content[-3000] ^= 1
        victim.write_bytes(content)
    elif damage == "cut":
        victim.write_bytes(content[:4000])
    else:
        victim.unlink()
    survey.cutouts(ids_of(rows), size=SIZE)
    assert len(server.requests) == 6 and server.requests[-1][1]["ra"] == ra_key(rows, 1)


def test_file_without_manifest_line_and_torn_last_line_are_not_trusted(sky):
    server, survey, rows = sky
    survey.cutouts(ids_of(rows), size=SIZE)
    manifest = survey.cutout_folder / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines[:-1]) + lines[-1][:40])  # killed while writing the last line
    survey.cutouts(ids_of(rows), size=SIZE)
    assert len(server.requests) == 6
    assert len(Manifest(survey.cutout_folder)) == 5
    survey.cutouts(ids_of(rows), size=SIZE)
    assert len(server.requests) == 6


def test_killed_half_way_then_resumed_refetches_nothing(tmp_path):
    """A real SIGKILL of a downloading process; its finished files are kept, its partial ones never taken for whole."""
    import os
    import signal
    import subprocess
    import sys

    write_sweep(tmp_path / "legacy_survey" / "sweeps" / "sweep-a.fits", sweep_rows(30))
    with serving(good_answer) as server:
        options = {**FAST, "base_url": server.url, "rate_per_s": 25.0, "workers": 2}
        script = (
            "from skytrace.surveys.legacy_survey import LegacySurvey\n"
            f"survey = LegacySurvey({options!r})\n"
            f"survey.download(survey.galaxies()['galaxy_id'].tolist(), size={SIZE})\n"
        )
        environment = {**os.environ, "SKYTRACE_DATA": str(tmp_path)}
        child = subprocess.Popen([sys.executable, "-c", script], env=environment)
        folder = tmp_path / "legacy_survey" / "cutouts"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(Manifest(folder)) < 8:
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        finished = len(Manifest(folder))
        assert 8 <= finished < 30
        before = len(server.requests)
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
        assert len(server.requests) - before == 30 - finished
        assert len(Manifest(folder)) == 30
        asked = [query["ra"] for _, query in server.requests[before:]]
        assert len(set(asked)) == len(asked)


def test_requests_are_concurrent_and_no_faster_than_the_rate(tmp_path):
    def slow(query):
        time.sleep(0.1)
        return good_answer(query)

    requests = [Request(f"g{k}", f"g{k}.fits", {"ra": f"{150 + k / 1000:.7f}"}) for k in range(12)]
    with serving(slow) as server:
        options = LegacySurveyOptions(base_url=server.url, workers=4, rate_per_s=50.0, timeout_s=5.0)
        report = download_all(requests, tmp_path, url_path="/x", check=lambda *_: None, options=options)
        assert (report.fetched, report.reused, report.failures) == (12, 0, {})
        assert 2 <= server.most_in_flight <= 4
        spacing = np.diff(sorted(server.started_at))
        assert server.started_at[-1] - server.started_at[0] >= 11 / 50.0 * 0.9
        assert spacing.mean() >= 0.9 / 50.0
    with serving(slow) as server:
        options = LegacySurveyOptions(base_url=server.url, workers=4, rate_per_s=10.0, timeout_s=5.0)
        download_all(requests[:6], tmp_path / "b", url_path="/x", check=lambda *_: None, options=options)
        assert max(server.started_at) - min(server.started_at) >= 5 / 10.0 * 0.9


def test_downloads_side_by_side_share_the_rate(tmp_path):
    with serving(good_answer) as server:
        options = LegacySurveyOptions(base_url=server.url, workers=4, rate_per_s=20.0, timeout_s=5.0)

        def download(part):
            requests = [Request(f"{part}{k}", f"{part}{k}.fits", {"ra": f"{150 + k / 1000:.7f}"}) for k in range(5)]
            assert download_all(requests, tmp_path, url_path="/x", check=lambda *_: None, options=options).fetched == 5

        threads = [threading.Thread(target=download, args=(part,)) for part in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert max(server.started_at) - min(server.started_at) >= 9 / 20.0 * 0.9
    assert len(Manifest(tmp_path)) == 10


def test_full_disk_is_an_error_that_keeps_the_files_already_there(sky, monkeypatch):
    from skytrace.errors import ShardError

    server, survey, rows = sky
    survey.download(ids_of(rows)[:2], size=SIZE)
    from pathlib import Path

    def full(self, content):
        import errno

        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ShardError, match="no space left"):
            survey.download(ids_of(rows), size=SIZE)
    survey.download(ids_of(rows), size=SIZE)
    asked = [query["ra"] for _, query in server.requests]
    assert asked.count(ra_key(rows, 0)) == asked.count(ra_key(rows, 1)) == 1
    assert len(list(survey.cutout_folder.glob("*.fits"))) == 5
    assert [path for path in survey.cutout_folder.iterdir() if "partial" in path.name] == []


def test_unknown_galaxy_is_named(sky):
    _, survey, rows = sky
    with pytest.raises(SurveyError, match="no galaxy '10000-1-1'"):
        survey.cutouts([ids_of(rows)[0], "10000-1-1"], size=SIZE)


def test_threads_of_one_process_share_a_folder_without_losing_lines(tmp_path):
    manifest = Manifest(tmp_path)
    threads = [
        threading.Thread(target=lambda k=k: [manifest.add(f"{k}-{i}.fits", "u", b"x") for i in range(20)])
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Manifest(tmp_path)) == 80
