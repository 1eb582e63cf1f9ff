"""SNANA files, CSV and Parquet give every observation they hold, in Jy, under the right supernova."""

import ast
import hashlib
import re
import threading

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from skytrace.cli import supernova_data
from skytrace.errors import CatalogueError, OptionError, SurveyError
from skytrace.supernovae.light_curves import LIGHT_CURVE_COLUMNS, validate_light_curves
from skytrace.surveys.supernovae.download import (
    RELEASES,
    DownloadOptions,
    RemoteFile,
    download_files,
    download_release,
)
from skytrace.surveys.supernovae.filters import known_filters
from skytrace.surveys.supernovae.interface import HUBBLE_COLUMNS, OBJECT_COLUMNS, SupernovaSurvey
from skytrace.surveys.supernovae.options import SnanaOptions, SupernovaTableOptions
from skytrace.surveys.supernovae.snana import SnanaSupernovae, photometry_rows, read_snana_fits, read_snana_text
from skytrace.surveys.supernovae.tables import TabulatedSupernovae, read_hubble_table, read_light_curve_table
from tests.surveys.cutout_server import serving
from tests.surveys.snana_files import REDSHIFTS, SUPERNOVAE, write_filters, write_fits, write_text


def observations(table: pd.DataFrame) -> dict[str, list[tuple]]:
    return {
        name: list(group[["mjd", "band", "fluxcal", "fluxcal_err"]].itertuples(index=False, name=None))
        for name, group in table.groupby("snid", sort=False)
    }


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("separators", [True, False])
def test_fits_photometry_is_whole_to_the_first_and_the_last_row(tmp_path, compress, separators):
    objects, photometry = read_snana_fits(*write_fits(tmp_path, compress=compress, separators=separators))
    assert observations(photometry) == SUPERNOVAE
    assert objects["snid"].tolist() == list(SUPERNOVAE)
    np.testing.assert_allclose(objects["z_hel"], list(REDSHIFTS.values()), rtol=1e-7)
    assert objects["z_cmb"].iloc[0] == pytest.approx(0.099)
    assert objects["mwebv"].isna().tolist() == [False, False, True]
    assert objects["peakmjd"].tolist()[:2] == [56001.0, 56012.0]


def test_fits_photometry_is_that_of_sncosmo(tmp_path):
    from sncosmo import read_snana_fits as peer

    head, phot = write_fits(tmp_path)
    _, photometry = read_snana_fits(head, phot)
    theirs = peer(str(head), str(phot))
    assert [len(table) for table in theirs] == photometry.groupby("snid", sort=False).size().tolist()
    for name, column in (("mjd", "MJD"), ("fluxcal", "FLUXCAL"), ("fluxcal_err", "FLUXCALERR")):
        np.testing.assert_array_equal(photometry[name], np.concatenate([table[column] for table in theirs]))


@pytest.mark.parametrize("shift", [-1, 1])
def test_pointers_off_by_one_are_an_error_that_names_the_supernova(tmp_path, shift):
    with pytest.raises(SurveyError, match=r"PTROBS of (001234|77)"):
        read_snana_fits(*write_fits(tmp_path, shift=shift))


def test_rows_are_those_of_the_definition_for_any_pointers():
    first, last = np.array([1, 4, 9]), np.array([2, 7, 9])
    rows, owner = photometry_rows(first, last, np.arange(9.0), names=np.array(["a", "b", "c"]))
    assert rows.tolist() == [0, 1, 3, 4, 5, 6, 8]
    assert owner.tolist() == [0, 0, 1, 1, 1, 1, 2]


def test_text_photometry_is_that_of_the_fits_files(tmp_path):
    objects, photometry = read_snana_text(write_text(tmp_path))
    assert observations(photometry) == SUPERNOVAE
    assert dict(zip(objects["snid"], objects["z_hel"], strict=True)) == REDSHIFTS
    assert objects["peakmjd"].tolist() == [56012.0] * 3


def test_identifiers_in_text_files_are_text_even_where_they_look_like_numbers(tmp_path):
    names = {"2011fe": "2001e5", "77": "Supernová"}
    objects, photometry = read_snana_text(write_text(tmp_path, names))
    assert set(objects["snid"]) == {"001234", "2001e5", "Supernová"} == set(photometry["snid"])


@pytest.mark.parametrize("write", [write_fits, write_text], ids=["fits", "text"])
def test_fluxes_are_jy_by_the_zero_point_and_the_offset(tmp_path, write):
    write(tmp_path)
    write_filters(tmp_path, offset_mag=0.25)
    native = SnanaSupernovae(tmp_path, {"ab_offset": False})
    table = native.light_curves()
    assert isinstance(native, SupernovaSurvey)
    assert tuple(table) == LIGHT_CURVE_COLUMNS
    assert tuple(native.objects()) == OBJECT_COLUMNS
    row = table[table["band"] == "i"].iloc[0]
    assert row["snid"] == "2011fe" and row["z_hel"] == pytest.approx(0.25) and row["wavelength_nm"] == 781.603
    assert row["flux_jy"] == pytest.approx(25.0 * 3.631e-8, rel=1e-9)
    assert row["flux_err_jy"] == pytest.approx(2.5 * 3.631e-8, rel=1e-9)
    assert -2.5 * np.log10(row["flux_jy"] / 3631.0) == pytest.approx(27.5 - 2.5 * np.log10(25.0), abs=1e-9)
    ab = SnanaSupernovae(tmp_path).light_curves()
    np.testing.assert_allclose(ab["flux_jy"] / table["flux_jy"], 10 ** (-0.1), rtol=1e-12)
    np.testing.assert_allclose(ab["flux_err_jy"] / table["flux_err_jy"], 10 ** (-0.1), rtol=1e-12)
    assert {path.name for path in native.files_read} >= {"filters.csv"}


def test_identifiers_are_those_of_published_hubble_tables_on_request(tmp_path):
    write_fits(tmp_path)
    write_filters(tmp_path)
    assert set(SnanaSupernovae(tmp_path).objects()["snid"]) == {"1234", "2011fe", "77"}
    assert set(SnanaSupernovae(tmp_path, {"strip_zeros": False}).light_curves()["snid"]) == set(SUPERNOVAE)


def test_a_band_without_a_filter_is_rejected_row_by_row(tmp_path):
    write_fits(tmp_path)
    write_filters(tmp_path, bands="gri")
    clean, rejections = validate_light_curves(SnanaSupernovae(tmp_path).light_curves())
    assert rejections["reason"].tolist() == ["unknown_band"] * 2
    assert rejections["band"].tolist() == ["z", "z"]
    assert len(clean) == 3


def test_a_folder_without_files_or_filters_says_what_belongs_there(tmp_path):
    with pytest.raises(SurveyError, match=r"neither \*_HEAD.FITS"):
        SnanaSupernovae(tmp_path).objects()
    write_text(tmp_path)
    with pytest.raises(SurveyError, match=r"no filter is known of survey 'LSST' \(known: DES, .*no table of filters"):
        SnanaSupernovae(tmp_path, {"survey": "LSST"}).light_curves()
    with pytest.raises(SurveyError, match=r"must hold SNANA files"):
        SnanaSupernovae(tmp_path / "absent").objects()


SEED_CSV = """SNID,MJD,FLUX_JY,FLUX_ERR_JY,WAVELENGTH_NM,z,BAND
0012,56000.5,1.5e-6,1.0e-7,642.0,0.35,r
0012,56001.5,-2.0e-8,1.0e-7,781.6,0.35,i
évé,56002.5,3.0e-6,1.0e-7,642.0,0.45,r
"""


def test_the_csv_of_the_seeds_is_read_under_our_names(tmp_path):
    (tmp_path / "seed.csv").write_text(SEED_CSV, encoding="utf-8")
    survey = TabulatedSupernovae(tmp_path, {"light_curves": "seed.csv", "index": None, "survey": "QFD"})
    table = survey.light_curves()
    assert set(table) == set(LIGHT_CURVE_COLUMNS)
    assert table["snid"].tolist() == ["0012", "0012", "évé"]
    assert table["flux_jy"].tolist() == [1.5e-6, -2.0e-8, 3.0e-6]
    assert table["z_hel"].tolist() == [0.35, 0.35, 0.45]
    objects = survey.objects()
    assert objects["snid"].tolist() == ["0012", "évé"]
    assert objects["z_hd"].tolist() == [0.35, 0.45]  # nothing better is known
    assert len(validate_light_curves(table)[0]) == 3
    assert survey.files_read == {tmp_path / "seed.csv"}


PUBLISHED = {
    "des.csv": "CID,IDSURVEY,zCMB,zHD,zHEL,MU,MUERR_FINAL,PROBIA_BEAMS,mB\n0042,10,.1,.101,.102,38.5,.15,.98,20.0\n",
    "v12.csv": "CID,IDSURVEY,zHD,zHEL,MU,MUERR,PROBCC_BEAMS\n0042,10,.101,.102,38.5,.15,.02\n",
    "pantheon.dat": "CID IDSURVEY zHD zHEL MU_SH0ES MU_SH0ES_ERR_DIAG mB\n0042 51 .101 .102 38.5 .15 20.0\n",
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_hubble_tables_are_read_by_their_own_names(tmp_path, name):
    (tmp_path / name).write_text(PUBLISHED[name])
    table = read_hubble_table(tmp_path / name)
    assert tuple(table) == HUBBLE_COLUMNS
    row = table.iloc[0]
    assert row["snid"] == "0042"
    assert row[["z_hd", "z_hel", "mu_mag", "mu_err_mag"]].tolist() == [0.101, 0.102, 38.5, 0.15]
    assert row["alpha"] == pytest.approx(-38.5 * np.log(10) / 2.5)
    assert row["alpha_err"] == pytest.approx(0.15 * np.log(10) / 2.5)
    assert row["prob_ia"] == pytest.approx(0.98) or (name == "pantheon.dat" and np.isnan(row["prob_ia"]))


def test_a_hubble_table_says_what_it_lacks(tmp_path):
    (tmp_path / "a.csv").write_text("CID,zHD,MU\n1,.1,38\n")
    with pytest.raises(CatalogueError, match="lacks columns for z_hel, mu_err_mag"):
        read_hubble_table(tmp_path / "a.csv")


@pytest.fixture
def release():
    """A server of two files by their paths, options that ask it, and the files' SHA-256."""
    content = {"/release/a%2Bb.csv": b"CID,zHD\n", "/release/c.csv": b"other"}
    with serving(lambda query: b"") as server:
        options = DownloadOptions(
            base_url=server.url, attempts=1, backoff_s=0.0, backoff_max_s=0.0, rate_per_s=1000.0, workers=2
        )
        yield server, options, {path: hashlib.sha256(body).hexdigest() for path, body in content.items()}


def _answering(server, content):
    server.respond = lambda query: content
    return server


def test_files_are_fetched_once_and_a_wrong_checksum_is_told(tmp_path, release):
    server, options, sha256 = release
    good = RemoteFile("/release/a%2Bb.csv", sha256["/release/a%2Bb.csv"])
    _answering(server, b"CID,zHD\n")
    assert download_files([good], tmp_path, options=options).fetched == 1
    assert server.requests[0][0] == "/release/a%2Bb.csv"
    assert (tmp_path / "a+b.csv").read_bytes() == b"CID,zHD\n"
    assert download_files([good], tmp_path, options=options).reused == 1
    with pytest.raises(SurveyError, match=r"1 of 2 files were not fetched: c.csv: .* has SHA-256"):
        download_files([good, RemoteFile("/release/c.csv", "0" * 64)], tmp_path, options=options)
    assert not (tmp_path / "c.csv").exists()
    with pytest.raises(ValueError, match="release = 'nothing' is not one of"):
        download_release("nothing", tmp_path)


def test_a_file_of_unknown_sha256_is_not_asked_for_unless_the_user_says_so(tmp_path, release):
    server, options, sha256 = release
    file = RemoteFile("/release/c.csv")
    _answering(server, b"other")
    with pytest.raises(SurveyError, match=r"no SHA-256 is known of c.csv: .*expected_sha256.*trust_on_first_use"):
        download_files([file], tmp_path / "refused", options=options)
    assert server.requests == []
    said = {"c.csv": sha256["/release/c.csv"].upper()}
    assert download_files([file], tmp_path / "said", expected_sha256=said, options=options).fetched == 1
    with pytest.raises(SurveyError, match="has SHA-256"):
        download_files([file], tmp_path / "wrong", expected_sha256={"c.csv": "0" * 64}, options=options)
    assert download_files([file], tmp_path / "first", trust_on_first_use=True, options=options).fetched == 1
    for wrong, message in (({"c.csv": "12"}, "not 64 hexadecimal"), ({"d.csv": "0" * 64}, "no option 'd.csv'")):
        with pytest.raises(OptionError, match=message):
            download_files([file], tmp_path, expected_sha256=wrong, options=options)
    with pytest.raises(OptionError, match="known to have"):
        download_files([RemoteFile("/c.csv", "1" * 64)], tmp_path, expected_sha256={"c.csv": "0" * 64}, options=options)


@pytest.mark.parametrize("name", list(RELEASES))
def test_a_release_is_refused_until_the_user_gives_what_the_refusal_asks_for(tmp_path, release, name):
    server, options, _ = release
    _answering(server, b"as published")
    with pytest.raises(SurveyError, match="no SHA-256 is known of") as refused:
        download_release(name, tmp_path, options=options)
    assert server.requests == [] and list(tmp_path.iterdir()) == []
    asked_for = re.findall(r"--sha256 '(.+?)=HEX'", str(refused.value))
    assert asked_for == [file.name for file in RELEASES[name] if not file.sha256] != []
    (in_python,) = re.findall(r"expected_sha256=(\{.+?\})", str(refused.value))
    assert list(ast.literal_eval(in_python)) == asked_for
    all_but_one = dict.fromkeys(asked_for[1:], hashlib.sha256(b"as published").hexdigest())
    with pytest.raises(SurveyError, match=rf"no SHA-256 is known of {re.escape(asked_for[0])}: "):
        download_release(name, tmp_path, expected_sha256=all_but_one, options=options)
    assert server.requests == []
    given = dict.fromkeys(asked_for, hashlib.sha256(b"as published").hexdigest())
    report = download_release(name, tmp_path, expected_sha256=given, options=options)
    assert report.fetched == len(RELEASES[name])


def test_what_was_trusted_once_binds_from_then_on(tmp_path, release):
    server, options, _ = release
    file = RemoteFile("/release/c.csv")
    _answering(server, b"first")
    download_files([file], tmp_path, trust_on_first_use=True, options=options)
    assert download_files([file], tmp_path, options=options).reused == 1  # its SHA-256 is known now
    (tmp_path / "c.csv").unlink()
    _answering(server, b"second")
    with pytest.raises(SurveyError, match="has SHA-256"):
        download_files([file], tmp_path, trust_on_first_use=True, options=options)


def test_a_tampered_file_with_its_own_line_in_the_manifest_is_not_reused(tmp_path, release):
    server, options, sha256 = release
    file = RemoteFile("/release/c.csv", sha256["/release/c.csv"])
    tampered = RemoteFile("/release/c.csv")
    _answering(server, b"tampered")
    download_files([tampered], tmp_path, trust_on_first_use=True, options=options)
    with pytest.raises(SurveyError, match=r"c.csv is there with SHA-256 .* move it away"):
        download_files([file], tmp_path, options=options)
    said = {"c.csv": sha256["/release/c.csv"]}
    with pytest.raises(SurveyError, match="is there with SHA-256"):
        download_files([tampered], tmp_path, expected_sha256=said, trust_on_first_use=True, options=options)
    assert (tmp_path / "c.csv").read_bytes() == b"tampered"  # neither used nor lost


def test_the_files_of_a_release_are_fetched_side_by_side(tmp_path, release):
    server, options, _ = release
    together = threading.Barrier(2, timeout=10.0)

    def respond(query):
        together.wait()  # the first request is answered only when the second one is there
        return b"x"

    server.respond = respond
    files = [RemoteFile("/release/a.csv"), RemoteFile("/release/b.csv")]
    assert download_files(files, tmp_path, trust_on_first_use=True, options=options).fetched == 2


def test_the_command_lists_releases_and_refuses_what_nobody_can_check(tmp_path):
    listed = CliRunner().invoke(supernova_data, [])
    assert listed.exit_code == 0 and "pantheon_plus: Pantheon+SH0ES.dat" in listed.output
    refused = CliRunner().invoke(supernova_data, ["pantheon_plus", "--folder", str(tmp_path)])
    assert refused.exit_code != 0 and "no SHA-256 is known of Pantheon+SH0ES.dat" in refused.output
    (entry,) = re.findall(r"--sha256 '(.+?)'", refused.output)
    short = CliRunner().invoke(
        supernova_data, ["pantheon_plus", "--folder", str(tmp_path), "--sha256", entry.replace("HEX", "12ab")]
    )
    assert "expected_sha256 of Pantheon+SH0ES.dat = '12ab' is not 64 hexadecimal digits" in short.output
    assert "trust-on-first-use" in CliRunner().invoke(supernova_data, ["--help"]).output


def test_known_filters_stand_in_for_a_folder_without_a_table(tmp_path):
    write_text(tmp_path)
    table = SnanaSupernovae(tmp_path).light_curves()
    assert table.groupby("band")["wavelength_nm"].first().to_dict() == {
        "g": 480.94,
        "i": 781.603,
        "r": 642.044,
        "z": 917.113,
    }
    flux = table.loc[table["band"] == "i", "flux_jy"].iloc[0]
    assert flux == pytest.approx(25.0 * 3.631e-8 * 10 ** (-0.4 * 0.0067), rel=1e-9)


def test_known_filters_have_the_pivots_of_their_instruments():
    """Within 1 % of the pivots that DECam, Pan-STARRS and the CSP publish (atmospheres and tabulations differ)."""
    known = known_filters().set_index(["survey", "band"])["wavelength_nm"]
    assert not known.index.duplicated().any() and len(known) == 46
    published = {("DES", "g"): 480.8, ("DES", "z"): 915.8, ("FOUNDATION", "r"): 620.2, ("LOWZ", "CSP-B"): 439.2}
    for name, pivot in published.items():
        assert known[name] == pytest.approx(pivot, rel=0.01)
    ab = known_filters().query("survey != 'LOWZ'")["ab_offset_mag"]
    assert ab.abs().max() < 0.05  # native systems that are AB by construction


def test_a_band_with_snanas_letter_behind_a_slash_is_that_band(tmp_path):
    write_text(tmp_path)
    for path in tmp_path.glob("*.dat"):
        path.write_text(path.read_text().replace(" g NULL", " CFA3K-B/h NULL"))
    survey = SnanaSupernovae(tmp_path, {"survey": "LOWZ"})
    table = survey.light_curves().set_index("band")["wavelength_nm"]
    assert table["CFA3K-B/h"] == 436.687
    assert table[["r", "i", "z"]].isna().all()
    assert survey.note == "no filter is known of band i, r, z"


def test_without_a_heliocentric_redshift_nothing_stands_in_for_it(tmp_path):
    for path in write_text(tmp_path):
        path.write_text("\n".join(x for x in path.read_text().splitlines() if not x.startswith("REDSHIFT_HELIO")))
    survey = SnanaSupernovae(tmp_path)
    objects = survey.objects()
    assert objects["z_hel"].isna().all() and (objects["z_cmb"] == 0.3).all()
    assert survey.light_curves()["z_hel"].isna().all()


def test_an_identifier_of_zeros_alone_stays_a_name(tmp_path):
    write_text(tmp_path, {"001234": "000", "77": "00x7", "2011fe": "0012"})
    assert set(SnanaSupernovae(tmp_path).objects()["snid"]) == {"0", "00x7", "12"}


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    path = write_text(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"its name", b"Supernov\xe1"))
    with pytest.raises(SurveyError, match=rf"{path.name} is no text in UTF-8"):
        read_snana_text([path])
    (tmp_path / "a.csv").write_bytes(b"CID,zHD\n\xe1,0.1\n")
    with pytest.raises(SurveyError, match=r"a.csv cannot be read as a table"):
        read_hubble_table(tmp_path / "a.csv")


ODD_CSV = "# made by hand\nSnid,MJD,FLUX_JY,FLUX_ERR_JY,WAVELENGTH_NM,z,BAND\n" + "".join(
    f"{name},56000.5,1.5e-6,1e-7,642.0,0.35,{band}\n"
    for name, band in [("0012", "r"), ("SN#12", "r"), ("NA", "nan"), ("nan", "r"), ("1e5", "r"), (" 7 ", "r")]
)


def test_identifiers_of_tables_are_text_whatever_they_look_like(tmp_path):
    (tmp_path / "odd.csv").write_text(ODD_CSV)
    table = read_light_curve_table(tmp_path / "odd.csv", survey="x")
    assert table["snid"].tolist() == ["0012", "SN#12", "NA", "nan", "1e5", "7"]
    assert table["band"].tolist() == ["r", "r", "nan", "r", "r", "r"]
    assert table["flux_jy"].tolist() == [1.5e-6] * 6
    (tmp_path / "h.dat").write_text("#c\ncId zHD zHEL MU MUERR\n0042 .1 .1 38. .1\nNA .2 .2 nan .1\n")
    published = read_hubble_table(tmp_path / "h.dat")
    assert published["snid"].tolist() == ["0042", "NA"]
    assert published["mu_mag"].isna().tolist() == [False, True]  # numbers may still be missing


def test_files_beyond_the_stated_limits_are_refused_by_name(tmp_path):
    (tmp_path / "odd.csv").write_text(ODD_CSV)
    pd.DataFrame({"snid": ["a", "b"]}).to_parquet(tmp_path / "two.parquet")
    for name, rows in (("odd.csv", 6), ("two.parquet", 2)):
        read_light_curve_table(tmp_path / name, survey="x", max_rows=rows)
        with pytest.raises(SurveyError, match=rf"{name} has {rows} rows, more than max_rows = {rows - 1}"):
            read_light_curve_table(tmp_path / name, survey="x", max_rows=rows - 1)
        with pytest.raises(SurveyError, match=r"MB, more than max_file_mb = 1e-05"):
            read_light_curve_table(tmp_path / name, survey="x", max_file_mb=1e-5)
    head, phot = write_fits(tmp_path)
    with pytest.raises(SurveyError, match=r"_PHOT.FITS has 8 rows, more than max_rows = 7"):
        read_snana_fits(head, phot, max_rows=7)
    with pytest.raises(SurveyError, match="more than max_file_mb"):
        read_snana_fits(head, phot, max_file_mb=1e-5)
    with pytest.raises(SurveyError, match="has 3 rows, more than max_rows = 2"):
        read_snana_text(write_text(tmp_path), max_rows=2)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [(SnanaOptions, {"text": 5}), (SnanaOptions, {"strip_zeros": "no"}), (SnanaOptions, {"ab_offset": "yes"}),
     (SnanaOptions, {"max_rows": 0}), (SupernovaTableOptions, {"surveys": "DES"}),
     (SupernovaTableOptions, {"hubble": {"a": 1}}), (SupernovaTableOptions, {"light_curves": None})],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(options, wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        options.from_mapping(wrong)


def test_further_light_curves_of_a_supernova_are_counted_and_left_out_or_kept(tmp_path):
    rows = ["b 0.1 .1 38.1 .3", "a .2 .2 39. .2", "b .1 .1 38.2 .1", "b .1 .1 38.3 .1", "c .3 .3 40. nan"]
    (tmp_path / "p.dat").write_text("\n".join(["CID zHD zHEL MU MUERR", *rows]))
    survey = TabulatedSupernovae(tmp_path, {"hubble": {"pantheon": "p.dat"}})
    table = survey.hubble_tables()["pantheon"]
    assert table[["snid", "mu_mag"]].to_numpy().tolist() == [["a", 39.0], ["b", 38.2], ["c", 40.0]]
    assert survey.note.startswith("2 of 5 rows of pantheon are further light curves of a supernova and were left out")
    kept = TabulatedSupernovae(tmp_path, {"hubble": {"pantheon": "p.dat"}, "repeats": "keep"})
    assert len(kept.hubble_tables()["pantheon"]) == 5 and "were kept" in kept.note


def test_a_table_with_other_separators_or_without_columns_is_named_with_what_it_lacks(tmp_path):
    (tmp_path / "a.csv").write_text(SEED_CSV.replace(",", ";"), encoding="utf-8")
    with pytest.raises(CatalogueError, match=r"a.csv lacks columns snid, mjd.* white space between columns.* by ';'"):
        TabulatedSupernovae(tmp_path, {"light_curves": "a.csv", "index": None}).objects()
    (tmp_path / "b.csv").write_text(SEED_CSV.replace(",z,", ",w,"), encoding="utf-8")
    with pytest.raises(CatalogueError, match=r"b.csv lacks columns z_hel; .*read with a comma between columns"):
        TabulatedSupernovae(tmp_path, {"light_curves": "b.csv", "index": None}).objects()


def test_negative_reddening_and_errors_that_are_not_positive_are_refused_by_name(tmp_path):
    pd.DataFrame({"snid": ["a", "b"], "mwebv": [-9.0, -0.1]}).to_parquet(tmp_path / "lc_index.parquet")
    with pytest.raises(CatalogueError, match=r"1 supernova\(e\) of mwebv < 0, the first -0.1 of 'b'"):
        TabulatedSupernovae(tmp_path).objects()
    (tmp_path / "h.csv").write_text("CID,zHD,zHEL,MU,MUERR\na,.1,.1,38,.1\nb,.1,.1,38,0\n")
    with pytest.raises(CatalogueError, match=r"1 row\(s\) whose MUERR is not positive, the first 0 of 'b'"):
        read_hubble_table(tmp_path / "h.csv")


def test_sentinel_fluxes_are_counted_and_negative_ones_kept(tmp_path):
    (tmp_path / "s.csv").write_text(SEED_CSV.replace("3.0e-6", "-999"), encoding="utf-8")
    survey = TabulatedSupernovae(tmp_path, {"light_curves": "s.csv", "index": None})
    clean, rejections = validate_light_curves(survey.light_curves())
    assert clean["flux_jy"].tolist() == [1.5e-6, -2.0e-8]
    assert rejections["reason"].tolist() == ["flux_not_finite"] and survey.note.startswith("1 fluxes of exactly")
