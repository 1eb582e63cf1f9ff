"""Files made to harm: nothing in them is run, nothing is written beside them, and no claim of a size is believed."""

import gzip
import io
import json
import os
import pickle
import struct
import zipfile

import astropy.table
import astropy.wcs  # noqa: F401
import numpy as np
import pandas as pd
import pytest
import yaml

from skytrace.clusters.modelling_options import ClusterLensOptions, FreeFormOptions, LensSamplerOptions
from skytrace.compute import ClusterOptions, load_npz, save_npz
from skytrace.compute.files import file_name_of
from skytrace.compute.parquet import read_parquet
from skytrace.errors import CatalogueError, ShardError, SkytraceError, SurveyError
from skytrace.pipelines.cluster_modelling.options import SystemOptions
from skytrace.surveys.fits_files import celestial_wcs, open_fits
from skytrace.surveys.legacy_survey.bricks import brick_path
from skytrace.surveys.legacy_survey.download import Request
from tests.security.limits import limited_memory
from tests.surveys.legacy_files import brick_wcs

MB = 10**6


class Payload:
    """Unpickling it makes the folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def trap(tmp_path):
    """(bytes of a pickle, whether it was run); that it would is tried first."""
    target = tmp_path / "was_run"
    content = pickle.dumps(Payload(target))
    pickle.loads(content)
    assert target.is_dir()
    target.rmdir()
    yield content
    assert not target.exists(), "the pickle was run"


def _npy(array_header, body=b""):
    text = (str(array_header) + "\n").encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def _claimed(shape, dtype="<f8"):
    return {"descr": dtype, "fortran_order": False, "shape": shape}


def _npz(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_pickle_in_an_npz_is_never_loaded(tmp_path, trap):
    objects = _npy(_claimed((1,), "|O"), trap)
    for members in ({"a.npy": objects}, {"a": trap}, {"a.npy": trap}):
        with pytest.raises(ShardError, match=r"file\.npz is not a whole npz"):
            load_npz(_npz(tmp_path / "file.npz", members))


def test_a_pickle_or_an_npy_instead_of_an_npz_is_never_loaded(tmp_path, trap):
    path = tmp_path / "file.npz"
    for content in (trap, _npy(_claimed((1,), "|O"), trap), _npy(_claimed((10**12,)))):
        path.write_bytes(content)
        with pytest.raises(ShardError, match=r"file\.npz"), limited_memory(300 * MB):
            load_npz(path)


def test_stamps_in_a_pickled_npy_are_never_loaded(tmp_path, trap):
    from skytrace.learning.store import StampStore

    path = tmp_path / "stamps.npy"
    path.write_bytes(_npy(_claimed((1, 3, 8, 8), "|O"), trap))
    with pytest.raises(SkytraceError, match=r"stamps\.npy"):
        StampStore.open([path], member="stamps")


def test_torchs_own_format_under_the_name_safetensors_is_never_loaded(tmp_path, trap):
    import torch

    from skytrace.errors import OptionError
    from skytrace.learning.checkpoint import Checkpoint
    from skytrace.learning.transformer_options import TransformerOptions
    from skytrace.learning.vision_transformer import build_transformer

    torch.save({"w": Payload(tmp_path / "was_run")}, tmp_path / "weights.safetensors")
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.path.parent.mkdir()
    for content in (trap, (tmp_path / "weights.safetensors").read_bytes()):
        (tmp_path / "weights.safetensors").write_bytes(content)
        checkpoint.path.write_bytes(content)
        with pytest.raises(ShardError, match="is damaged"):
            checkpoint.load()
        with pytest.raises(OptionError, match="cannot be read"):
            build_transformer(TransformerOptions(), in_channels=4, pixels=64,
                              weights_file=tmp_path / "weights.safetensors")  # fmt: skip


def test_a_pickle_in_the_metadata_of_a_parquet_file_is_never_loaded(tmp_path, trap):
    import pyarrow as pa
    import pyarrow.parquet as pq

    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": trap}
    field = pa.field("x", pa.int64(), metadata=extension)
    table = pa.Table.from_arrays([pa.array([1, 2])], schema=pa.schema([field]))
    schema = {"pandas": trap, "skytrace.content": trap}
    for metadata in (None, schema):
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "file.parquet")
        try:
            found = read_parquet(tmp_path / "file.parquet")
        except SurveyError as error:
            assert "file.parquet" in str(error)
        else:
            assert found["x"].tolist() == [1, 2]


def test_a_pickle_in_a_posterior_is_text_and_a_pickle_instead_of_one_is_refused(tmp_path, trap):
    import arviz
    from kedro.io import DatasetError

    from skytrace.datasets import PosteriorDataset

    path = tmp_path / "posterior.nc"
    told = arviz.from_dict(posterior={"a": np.zeros((1, 3))}, attrs={"note": trap.hex(), "__class__": "os.system"})
    told.posterior.attrs["raw"] = np.frombuffer(trap, dtype=np.uint8)
    dataset = PosteriorDataset(filepath=str(path))
    dataset.save(told)
    assert dataset.load().posterior["a"].shape == (1, 3)
    for content in (trap, b"", path.read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"posterior\.nc"):
            dataset.load()


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.mkdir ['{}']", "!!python/name:os.system", "!!python/module:os"]
)
def test_yaml_that_names_objects_is_refused_where_configuration_is_read(tmp_path, text):
    from kedro.config import OmegaConfigLoader

    target = tmp_path / "was_run"
    for folder in ("base", "local"):
        (tmp_path / folder).mkdir()
    (tmp_path / "base" / "catalog.yml").write_text("a: " + text.format(target))
    loader = OmegaConfigLoader(str(tmp_path), base_env="base", default_run_env="local")
    with pytest.raises((yaml.YAMLError, ValueError)):
        loader["catalog"]
    assert not target.exists()


def test_yaml_in_the_header_of_an_ecsv_makes_no_object(tmp_path):
    from skytrace.surveys.spectra.file_columns import read_columns

    target = tmp_path / "was_run"
    path = tmp_path / "spectrum.ecsv"
    path.write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: float64}\n"
        f"# meta: !!python/object/apply:os.mkdir ['{target}']\n# schema: astropy-2.0\na\n1.0\n"
    )
    with pytest.raises(SurveyError, match=r"spectrum\.ecsv"):
        read_columns(path, "auto")
    assert not target.exists()


@pytest.mark.parametrize("name", ["../outside", "/outside", "..\\outside", "a/../../outside"])
def test_members_that_lead_out_of_an_archive_are_arrays_and_never_files(tmp_path, name):
    """An npz is read member by member, never unpacked; nothing else is an archive here (tests of the scan)."""
    inside = tmp_path / "inside"
    inside.mkdir()
    before = set(tmp_path.rglob("*"))
    path = inside / "file.npz"
    body = io.BytesIO()
    np.save(body, np.arange(3))
    link = zipfile.ZipInfo("link.npy")
    link.external_attr = 0o120777 << 16  # a symbolic link, if anybody unpacked it
    _npz(path, {f"{name}.npy": body.getvalue()})
    assert [values.tolist() for values in load_npz(path).values()] == [[0, 1, 2]]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ShardError, match=r"file\.npz"):
        load_npz(path)
    assert set(tmp_path.rglob("*")) == before | {path}


def test_an_npz_that_claims_more_than_it_holds_is_refused_before_anything_is_allocated(tmp_path):
    for shape in ((10**9,), (10**15,), (-1, 5), (2**62, 2**62)):
        path = _npz(tmp_path / "file.npz", {"a.npy": _npy(_claimed(shape), b"\0" * 80)})
        with pytest.raises(ShardError, match=r"file\.npz.*(claims|shape)"), limited_memory(200 * MB):
            load_npz(path)


def test_a_bomb_in_an_npz_is_refused_by_its_size_and_a_smaller_limit_can_be_asked_for(tmp_path):
    path = tmp_path / "file.npz"
    zeros = np.zeros(4 * MB)
    save_npz(path, compress=["a"], a=zeros)
    assert path.stat().st_size < 100_000
    assert load_npz(path)["a"].nbytes == 32 * MB
    with pytest.raises(ShardError, match=r"would fill 0\.032 GB, more than 0\.01"), limited_memory(20 * MB):
        load_npz(path, max_inflated_gb=0.01)
    assert load_npz(path, leave=["a"], max_inflated_gb=0.01) == {}
    content = bytearray(path.read_bytes())  # now the directory lies: 16 bytes, as it says, of 32 MB
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 144)
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"file\.npz"), limited_memory(100 * MB):
        load_npz(path)


def _card(key, value):
    return f"{key:<8}= {value:>20}".ljust(80).encode("ascii")


def _fits(*cards, data=b""):
    head = b"".join(_card(*card) for card in cards) + b"END".ljust(80)
    return head.ljust(-(-len(head) // 2880) * 2880) + data.ljust(-(-len(data) // 2880) * 2880, b"\0")


def _image(*sizes, bitpix=-32):
    axes = [(f"NAXIS{i + 1}", size) for i, size in enumerate(sizes)]
    return _fits(("SIMPLE", "T"), ("BITPIX", bitpix), ("NAXIS", len(sizes)), *axes, data=b"\0" * 2880)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        _image(10**6, 10**6), _image(2**31, 2**31, 2**31), _image(-5, 10), _image(10, 10**12, bitpix=-64),
        _image(*[2] * 999), _image(100, 100, bitpix=7777777),
        _fits(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 0)) + _fits(
            ("XTENSION", "'BINTABLE'"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 8), ("NAXIS2", 10**13), ("PCOUNT", 0),
            ("GCOUNT", 1), ("TFIELDS", 1), ("TFORM1", "'D'"), ("TTYPE1", "'x'")),
        _fits(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 0)) + _fits(
            ("XTENSION", "'BINTABLE'"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 8), ("NAXIS2", 1), ("PCOUNT", 0),
            ("GCOUNT", 1), ("TFIELDS", 1), ("TFORM1", "'99999999D'"), ("TTYPE1", "'x'"), data=b"\0" * 8),
        _fits(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 0)) + _fits(
            ("XTENSION", "'BINTABLE'"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 8), ("NAXIS2", 1), ("PCOUNT", 0),
            ("GCOUNT", 1), ("TFIELDS", 1), ("TFORM1", "'1PB(9)'"), ("TTYPE1", "'COMPRESSED_DATA'"), ("ZIMAGE", "T"),
            ("ZCMPTYPE", "'RICE_1'"), ("ZBITPIX", -32), ("ZNAXIS", 2), ("ZNAXIS1", 10**6), ("ZNAXIS2", 10**6),
            ("ZTILE1", 10**6), ("ZTILE2", 1), data=b"\0" * 8),
        b"SIMPLE  =                    T" + b" " * 50 + b"COMMENT bomb".ljust(80) * 20_000,
    ],
    ids=["a terapixel", "three axes", "negative", "a long axis", "999 axes", "a bitpix", "rows", "a wide column",
         "tiles", "a header without end"],
)  # fmt: skip
def test_no_claim_of_a_fits_header_is_believed(tmp_path, content, packed):
    from skytrace.surveys.clusters.mosaic import read_mosaic
    from skytrace.surveys.clusters.tables import read_cluster_table
    from skytrace.surveys.decam_fields import read_field

    path = tmp_path / "file.fits"
    path.write_bytes(gzip.compress(content) if packed else content)
    for read in (read_mosaic, read_field, lambda path: read_cluster_table(path, {"cluster_id": "x"})):
        with pytest.raises(SurveyError, match=r"file\.fits"), limited_memory(300 * MB):
            read(path)


def test_a_gzip_bomb_is_unpacked_to_its_limit_and_no_further(tmp_path):
    path = tmp_path / "file.fits.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(100):
            stream.write(b"\0" * MB)
    assert path.stat().st_size < MB
    with (
        pytest.raises(SurveyError, match=r"file\.fits\.gz unpacks to more than 0\.02 GB"),
        limited_memory(100 * MB),
        open_fits(path, max_unpacked_gb=0.02),
    ):
        pass


def test_other_packings_that_astropy_would_open_are_refused(tmp_path):
    import bz2
    import lzma

    whole = _image(10, 10)
    for content in (bz2.compress(whole), lzma.compress(whole), _npz(tmp_path / "a", {"x": whole}).read_bytes()):
        (tmp_path / "file.fits").write_bytes(content)
        with pytest.raises(SurveyError, match="it is plain or gzipped"), open_fits(tmp_path / "file.fits"):
            pass


def test_a_distortion_of_an_absurd_order_is_refused_before_its_coefficients_are_allocated():
    header = brick_wcs(150.0, 2.0, 20).to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["A_ORDER"] = header["B_ORDER"] = 30_000
    with pytest.raises(SurveyError, match=r"image\.fits has A_ORDER = 30000"):
        celestial_wcs(header, "image.fits")
    header["A_ORDER"] = header["B_ORDER"] = 2
    assert celestial_wcs(header, "image.fits").has_celestial


def test_letters_that_fits_does_not_know_are_refused_by_name(tmp_path):
    content = _image(10, 10).replace(b"BITPIX  =", b"B\xc3\xa9TPX  =")
    (tmp_path / "file.fits").write_bytes(content)
    with pytest.raises(SurveyError, match=r"file\.fits"), open_fits(tmp_path / "file.fits") as hdus:
        assert hdus[0].data is not None


def test_a_parquet_table_of_a_billion_equal_values_is_refused_by_its_size(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "file.parquet"
    part = pa.table({"x": pa.array(np.zeros(MB))})
    with pq.ParquetWriter(path, part.schema, compression="zstd") as writer:
        for _ in range(20):
            writer.write_table(part)
    assert path.stat().st_size < MB
    assert len(read_parquet(path)) == 20 * MB
    with pytest.raises(CatalogueError, match=r"file\.parquet has 20,000,000 rows.* limit of 1,000,000"):
        read_parquet(path, max_cells=MB, error=CatalogueError)


def test_json_of_absurd_depth_is_an_error_of_ours(tmp_path):
    from skytrace.provenance.report_values import read_value

    path = tmp_path / "report.json"
    for content in ("[" * 200_000, '{"a":' * 100_000, "1" * 10_000):
        path.write_text(content)
        with pytest.raises(SkytraceError, match=r"report\.json"):
            read_value(path, "a.b")
    path.write_text(json.dumps({"a": {"b": 3}}))
    assert read_value(path, "a.b") == 3


def test_a_table_of_numbers_stays_what_it_was(tmp_path):
    frame = pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]})
    frame.to_parquet(tmp_path / "file.parquet")
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "file.parquet"), frame)
    assert read_parquet(tmp_path / "file.parquet", columns=["b"])["b"].tolist() == ["x", "y"]


PATHS_AS_NAMES = ("../../outside", "/outside", "..", "a/b", "a\\b", "a\0b", ".hidden", "x" * 5000, "")


@pytest.mark.parametrize("name", PATHS_AS_NAMES)
def test_a_name_that_is_a_path_leads_into_no_other_folder(tmp_path, name):
    file = tmp_path / f"{file_name_of(name)}-0123.json"
    assert file.parent == tmp_path and file.resolve().parent == tmp_path.resolve()
    file.write_text("{}")
    assert list(tmp_path.iterdir()) == [file]
    assert not file.name.startswith(".")


def test_a_usual_name_stays_what_it_is():
    for name in ("1234", "RM_J001234.5-091234.5", "A2744", "decam-alpha-0"):
        assert file_name_of(name) == name


def test_a_cluster_called_like_a_path_keeps_its_model_in_the_folder(tmp_path, monkeypatch):
    from skytrace.pipelines.cluster_modelling import nodes

    written = []

    def kept(fit, shards, **_):
        written.extend(shard.path for shard in shards)
        return []

    monkeypatch.setattr(nodes, "map_shards", kept)
    names = ["../../outside", "/outside", "a b", "a_b"]
    systems = pd.DataFrame({"rank": range(4), "cluster_id": names, "redshift": 0.4, "verdict": "modelled"})
    images = pd.DataFrame({"cluster_id": names, "x": 1.0})
    options = SystemOptions(folder=str(tmp_path))
    nodes.fit_systems(systems, images, images, options, ClusterLensOptions(), LensSamplerOptions(), FreeFormOptions(),
                      ClusterOptions())  # fmt: skip
    assert [path.parent for path in written] == [tmp_path] * 4
    assert len(set(written)) == 4  # "a b" and "a_b" are two


@pytest.mark.parametrize("file", ["../outside", "/outside", "..", "a/b.fits", "", "a\\b"])
def test_a_download_is_kept_under_a_plain_name(file):
    with pytest.raises(SurveyError, match="no name of a file in a folder"):
        Request("g", file, {})


@pytest.mark.parametrize("brick", ["../..", "/abc", "1500p02", "1500p020/../x", ""])
def test_a_brick_called_like_a_path_is_refused(tmp_path, brick):
    with pytest.raises(SurveyError, match="is no name of a brick"):
        brick_path(tmp_path, brick, "image", "r")
