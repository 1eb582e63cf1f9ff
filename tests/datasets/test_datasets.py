"""Datasets give back what they were given, write the same bytes for the same content, and refuse what is not theirs."""

import base64
import json

import numpy as np
import pytest
from kedro.io import DatasetError, Version

from skytrace.datasets import DetectorDataset, FigureDataset, FITSImageDataset, HTMLDataset, NPZDataset
from skytrace.learning import Detector

RELEASE = Version(None, "0001")


@pytest.fixture
def detector() -> Detector:
    rng = np.random.default_rng(3)
    state = {
        "conv.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32).transpose(3, 0, 1, 2),  # not contiguous
        "bn.num_batches_tracked": np.array(7, dtype=np.int64),
    }
    return Detector("resnet18", state, {"threshold": {"value": 0.25, "rule": "fixed"}, "stamp_shape": [3, 64, 64]})


def test_a_version_lies_in_a_folder_of_its_own_and_the_newest_is_loaded(tmp_path):
    path = tmp_path / "stamps.npz"
    for version, value in (("0001", 1.0), ("2026-01-02T00.00.00.000Z", 2.0)):
        NPZDataset(filepath=str(path), version=Version(None, version)).save({"a": np.array([value])})
    assert (path / "0001" / "stamps.npz").is_file()
    assert NPZDataset(filepath=str(path), version=Version(None, None)).load()["a"] == 2.0
    assert NPZDataset(filepath=str(path), version=Version("0001", None)).load()["a"] == 1.0


def test_a_release_is_never_overwritten(tmp_path):
    dataset = NPZDataset(filepath=str(tmp_path / "a.npz"), version=RELEASE)
    dataset.save({"a": np.ones(2)})
    again = NPZDataset(filepath=str(tmp_path / "a.npz"), version=RELEASE)
    with pytest.raises(DatasetError, match="must not exist"):
        again.save({"a": np.zeros(2)})


@pytest.mark.parametrize("kind", [NPZDataset, DetectorDataset, HTMLDataset, FITSImageDataset])
def test_a_missing_file_is_named(tmp_path, kind):
    dataset = kind(filepath=str(tmp_path / "nothing.here"))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"nothing\.here"):
        dataset.load()


def test_arrays_named_in_compress_are_deflated(tmp_path):
    planes = {"image": np.random.default_rng(0).normal(size=(100, 100)), "invvar": np.ones((100, 100))}
    dataset = NPZDataset(filepath=str(tmp_path / "a.npz"), save_args={"compress": ["invvar", "maskbits"]})
    dataset.save(planes)
    assert 80_000 < (tmp_path / "a.npz").stat().st_size < 90_000
    np.testing.assert_array_equal(dataset.load()["invvar"], planes["invvar"])
    assert json.loads(dataset.preview())["image"] == "float64 (100, 100)"


def test_a_detector_comes_back_with_its_card(tmp_path, detector):
    dataset = DetectorDataset(filepath=str(tmp_path / "detector.safetensors"), version=RELEASE)
    assert not dataset.exists()
    dataset.save(detector)
    loaded = DetectorDataset(filepath=str(tmp_path / "detector.safetensors"), version=Version("0001", None)).load()
    assert loaded.architecture == "resnet18"
    assert loaded.card == detector.card
    assert set(loaded.state) == set(detector.state)
    for name, values in detector.state.items():
        assert loaded.state[name].dtype == values.dtype
        np.testing.assert_array_equal(loaded.state[name], values)


def test_a_detector_has_the_same_bytes_whatever_the_order_of_its_weights(tmp_path, detector):
    reordered = Detector(detector.architecture, dict(reversed(detector.state.items())), detector.card)
    for name, one in (("a", detector), ("b", reordered)):
        DetectorDataset(filepath=str(tmp_path / name / "d.safetensors")).save(one)
    for file in ("d.safetensors", "d.card.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_detector_of_unknown_origin_is_refused(tmp_path, detector):
    path, card_path = tmp_path / "d.safetensors", tmp_path / "d.card.json"
    dataset = DetectorDataset(filepath=str(path))
    dataset.save(detector)
    weights, card = path.read_bytes(), json.loads(card_path.read_text())

    path.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(DatasetError, match="not the file that its card describes"):
        dataset.load()
    path.write_bytes(weights)
    card_path.write_text(json.dumps({**card, "format": "skytrace.detector/9"}))
    with pytest.raises(DatasetError, match=r"format 'skytrace\.detector/9'; this version reads 'skytrace\.detector/1'"):
        dataset.load()
    card_path.write_text(json.dumps({**card, "architecture": "resnet19"}))
    with pytest.raises(DatasetError, match=r"architecture = 'resnet19' is not one of resnet18"):
        dataset.load()
    card_path.unlink()
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"no card d\.card\.json beside it"):
        dataset.load()


def test_pickled_weights_are_not_read_even_with_a_fitting_card(tmp_path, detector):
    import hashlib
    import pickle

    path = tmp_path / "d.safetensors"
    dataset = DetectorDataset(filepath=str(path))
    dataset.save(detector)
    path.write_bytes(pickle.dumps({"conv.weight": [1.0]}))
    card = json.loads((tmp_path / "d.card.json").read_text())
    card["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "d.card.json").write_text(json.dumps(card))
    with pytest.raises(DatasetError, match="not a safetensors file"):
        dataset.load()


def test_a_fits_image_keeps_pixels_header_and_bytes(tmp_path):
    image = np.random.default_rng(1).normal(size=(3, 20, 30)).astype(np.float32)
    given = {"image": image, "header": {"BANDS": "grz", "CD1_1": -7.27e-05, "EXPTIME": 90.0}}
    for name in ("a.fits", "b.fits"):
        FITSImageDataset(filepath=str(tmp_path / name)).save(given)
    loaded = FITSImageDataset(filepath=str(tmp_path / "a.fits")).load()
    assert loaded["image"].dtype == np.dtype("float32").newbyteorder("=")
    np.testing.assert_array_equal(loaded["image"], image)
    assert {key: loaded["header"][key] for key in given["header"]} == given["header"]
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()
    FITSImageDataset(filepath=str(tmp_path / "c.fits")).save(loaded)  # what was loaded can be saved again
    np.testing.assert_array_equal(FITSImageDataset(filepath=str(tmp_path / "c.fits")).load()["image"], image)


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_fits_image_is_refused(tmp_path, damage):
    path = tmp_path / "a.fits"
    FITSImageDataset(filepath=str(path)).save({"image": np.ones((100, 100), np.float32)})
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content if damage == "flip" else content[:9000])
    with pytest.raises(DatasetError, match=r"a\.fits is not a whole FITS image"):
        FITSImageDataset(filepath=str(path)).load()


def test_a_page_is_utf_8_with_unix_lines(tmp_path):
    dataset = HTMLDataset(filepath=str(tmp_path / "page.html"))
    dataset.save("<p>θ_E = 1″</p>\n")
    assert (tmp_path / "page.html").read_bytes() == "<p>θ_E = 1″</p>\n".encode()
    assert dataset.load() == "<p>θ_E = 1″</p>\n"


def test_a_figure_names_no_program_and_repeats_its_bytes(tmp_path):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    for name in ("a.png", "b.png"):
        figure, axes = plt.subplots()
        axes.plot([0, 1], [1, 0])
        dataset = FigureDataset(filepath=str(tmp_path / name), save_args={"dpi": 80})
        dataset.save(figure)
        assert not plt.fignum_exists(figure.number), "the figure stays in memory"
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert b"matplotlib" not in content.lower()
    assert base64.b64decode(dataset.preview()) == content


def test_previews_are_announced_as_kedro_viz_looks_for_them():
    # Kedro-Viz compares the annotation itself with the name of its type; a quoted one is not recognised
    for kind, preview in {
        NPZDataset: "JSONPreview",
        DetectorDataset: "JSONPreview",
        FigureDataset: "ImagePreview",
    }.items():
        assert getattr(kind.preview.__annotations__["return"], "__name__", None) == preview


def test_stamps_that_stay_on_disk_make_the_same_file_and_are_read_by_rows(tmp_path):
    from skytrace.learning.store import StampStore, write_stamp_shards

    stamps = np.random.default_rng(3).normal(size=(11, 3, 8, 8)).astype(np.float32)
    ids = np.array([f"g{i}" for i in range(11)])
    whole = NPZDataset(filepath=str(tmp_path / "whole.npz"))
    whole.save({"galaxy_id": ids, "stamps": stamps})
    streamed = NPZDataset(filepath=str(tmp_path / "streamed.npz"), load_args={"stream": ["stamps"]})
    streamed.save({"galaxy_id": ids, "stamps": write_stamp_shards(tmp_path / "shards", [stamps], rows_per_shard=4)})
    assert (tmp_path / "streamed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    loaded = streamed.load()
    assert isinstance(loaded["stamps"], StampStore) and loaded["galaxy_id"].tolist() == ids.tolist()
    np.testing.assert_array_equal(loaded["stamps"][np.array([7, 2])], stamps[[7, 2]])
