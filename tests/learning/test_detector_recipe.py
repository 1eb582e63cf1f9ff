"""The detector that docs/how_to/detector.md adopts is one that injection_recovery takes."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from skytrace.datasets import DetectorDataset
from skytrace.errors import LeakageError
from skytrace.imaging import PreprocessOptions
from skytrace.imaging.preprocessing import preprocessing_checksum
from skytrace.learning import score_stamps
from skytrace.learning.samples import check_split_certificate
from tests.selection.fake_sky import random_detector


@pytest.fixture
def adopt(repository):
    page = (repository / "docs/how_to/detector.md").read_text(encoding="utf-8")
    names: dict = {"__name__": "recipe"}
    exec(compile(page.split("```python\n")[1].split("```")[0], "docs/how_to/detector.md", "exec"), names)
    return names["adopt"]


def test_the_detector_of_the_page_has_the_card_that_injections_ask_for(adopt, tmp_path):
    trained = random_detector()
    save_file(trained.state, tmp_path / "mine.safetensors")
    n = 60
    splits = np.array(["train", "val", "test"])[np.arange(n) % 3]
    manifest = pd.DataFrame(
        {
            "galaxy_id": [f"g{k:03d}" for k in range(n)], "split": splits, "label": np.arange(n) // 3 % 2, "pool": "N1",
            "stamp_row": np.arange(n), "sample_weight": 1.0,
        }
    )  # fmt: skip
    stamps = {"stamps": np.random.default_rng(1).normal(size=(n, 3, 64, 64)).astype(np.float32)}
    detector = adopt(str(tmp_path / "mine.safetensors"), stamps, manifest, rate=0.1)
    DetectorDataset(filepath=str(tmp_path / "detector.safetensors")).save(detector)
    kept = DetectorDataset(filepath=str(tmp_path / "detector.safetensors")).load()

    kept.check_preprocessing(preprocessing_checksum(PreprocessOptions()))
    check_split_certificate(kept.card, manifest)
    with pytest.raises(LeakageError, match=r"the train sample of lens_finder\.manifest is not the one"):
        check_split_certificate(kept.card, manifest[manifest["galaxy_id"] != "g000"])
    assert kept.stamp_shape == (3, 64, 64)
    np.testing.assert_array_equal(score_stamps(kept, stamps["stamps"]), score_stamps(trained, stamps["stamps"]))
    galaxies = manifest[(manifest["split"] == "val") & (manifest["label"] == 0)]
    passed = score_stamps(kept, stamps["stamps"][galaxies["stamp_row"]]) >= kept.threshold
    assert passed.sum() == 1, "0.1 of the ten galaxies of validation"
