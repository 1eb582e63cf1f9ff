import dataclasses

import numpy as np
import pandas as pd
import pytest

from skytrace.datasets import DetectorDataset
from skytrace.errors import CatalogueError, OptionError
from skytrace.learning import ARCHITECTURES, Detector, TrainingOptions, score_stamps
from skytrace.learning.fusion import CLIP_SD, fit_standardisation, standardise
from skytrace.learning.labelled import LabelledStamps
from skytrace.learning.metrics import roc_auc
from skytrace.learning.networks import build_network
from skytrace.learning.training import train_detector
from tests.learning.test_training import TINY, same_bytes

COLUMNS = ("psfsize_r", "ebv")
FUSED = dataclasses.replace(TINY, metadata=COLUMNS)


def table(n: int, *, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"psfsize_r": rng.normal(1.3, 0.2, n), "ebv": rng.gamma(2.0, 0.02, n), "label": np.ones(n)})


def told_by_seeing(n: int, *, seed: int) -> LabelledStamps:
    """Pure noise: a lens differs from a galaxy by its seeing alone."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    metadata = table(n, seed=seed).assign(psfsize_r=1.3 + 0.2 * (2 * labels - 1) + rng.normal(0, 0.1, n))
    return LabelledStamps(rng.normal(size=(n, 3, 16, 16)).astype(np.float32), labels, metadata=metadata)


def test_standardised_training_metadata_has_mean_0_and_sd_1_and_missing_values_become_the_mean():
    metadata = table(500, seed=1)
    metadata.loc[7, "psfsize_r"] = np.nan
    constants = fit_standardisation(metadata, COLUMNS)
    known = metadata["psfsize_r"].drop(7)
    assert constants["mean"][0] == pytest.approx(known.mean(), rel=1e-12)
    assert constants["sd"][0] == pytest.approx(known.std(ddof=0), rel=1e-12)
    scaled = standardise(metadata, constants, rows=500)
    assert scaled[7, 0] == 0.0
    expected = (metadata["psfsize_r"].fillna(known.mean()) - known.mean()) / known.std(ddof=0)
    np.testing.assert_allclose(scaled[:, 0], expected.clip(-CLIP_SD, CLIP_SD), atol=1e-6)
    outlier = metadata.assign(ebv=1e9)
    assert (standardise(outlier, constants, rows=500)[:, 1] == CLIP_SD).all()


def test_a_constant_column_is_harmless_and_an_empty_one_is_refused():
    metadata = table(20, seed=2).assign(ebv=0.1)
    constants = fit_standardisation(metadata, COLUMNS)
    assert constants["sd"][1] == 1.0
    np.testing.assert_allclose(standardise(metadata, constants, rows=20)[:, 1], 0.0, atol=1e-12)
    with pytest.raises(CatalogueError, match="ebv has no finite value"):
        fit_standardisation(metadata.assign(ebv=np.nan), COLUMNS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_takes_metadata_beside_its_pooled_features(architecture):
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(architecture, n_metadata=4).eval()
        features = {"resnet18": 512, "efficientnet_b0": 1280, "convnext_tiny": 768}[architecture]
        assert network.head.in_features == features + 32
        pixels, metadata = torch.randn(2, 3, 64, 64), torch.randn(2, 4)
        with torch.no_grad():
            first, other = network(pixels, metadata), network(pixels, -metadata)
            assert first.shape == (2, 1)
            assert not torch.equal(first, other)
            network.metadata[2].weight.zero_()
            network.metadata[2].bias.zero_()
            alone = network(pixels, metadata)
            np.testing.assert_allclose(
                alone, network.backbone(pixels) @ network.head.weight[:, :features].T + network.head.bias, atol=1e-5
            )


def test_a_fused_detector_learns_what_only_the_metadata_tell():
    training, unseen = told_by_seeing(200, seed=3), told_by_seeing(80, seed=4)
    options = dataclasses.replace(FUSED, epochs=5, images_per_epoch=256, learning_rate=5e-3)
    detector, _ = train_detector(training, unseen, options=options)
    assert roc_auc(score_stamps(detector, unseen.stamps, metadata=unseen.metadata), unseen.labels) > 0.9
    shuffled = unseen.metadata.iloc[::-1].assign(psfsize_r=1.3)
    without = roc_auc(score_stamps(detector, unseen.stamps, metadata=shuffled), unseen.labels)
    assert abs(without - 0.5) < 0.25


@pytest.fixture(scope="module")
def fused(training, validation):
    samples = [
        dataclasses.replace(sample, metadata=table(len(sample.labels), seed=seed))
        for seed, sample in enumerate((training, validation))
    ]
    return samples, train_detector(*samples, options=dataclasses.replace(FUSED, epochs=1))[0]


def test_fused_training_repeats_its_bytes_and_sees_the_named_columns_alone(fused):
    (training, validation), detector = fused
    assert detector.metadata_columns == COLUMNS
    changed = dataclasses.replace(training, metadata=training.metadata.assign(label=-5.0, tier="A"))
    again, _ = train_detector(changed, validation, options=dataclasses.replace(FUSED, epochs=1))
    assert same_bytes(again, detector)


def test_fused_scores_do_not_depend_on_the_grouping_and_come_back_from_disk(fused, tmp_path):
    (_, validation), detector = fused
    scores = score_stamps(detector, validation.stamps, metadata=validation.metadata)
    pieces = [score_stamps(detector, validation.stamps[r], metadata=validation.metadata.iloc[r])
              for r in (slice(0, 7), slice(7, 90))]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate(pieces), scores)
    dataset = DetectorDataset(filepath=str(tmp_path / "d.safetensors"))
    dataset.save(detector)
    loaded = dataset.load()
    assert loaded.card["metadata"] == detector.card["metadata"]
    np.testing.assert_array_equal(score_stamps(loaded, validation.stamps, metadata=validation.metadata), scores)


def test_missing_metadata_are_named(fused):
    (training, validation), detector = fused
    with pytest.raises(CatalogueError, match="psfsize_r, ebv beside the pixels"):
        score_stamps(detector, validation.stamps)
    with pytest.raises(CatalogueError, match="lacks ebv"):
        score_stamps(detector, validation.stamps, metadata=validation.metadata.drop(columns="ebv"))
    with pytest.raises(CatalogueError, match="3 rows for 90 stamps"):
        score_stamps(detector, validation.stamps, metadata=validation.metadata[:3])
    with pytest.raises(CatalogueError, match="lacks ebv"):
        train_detector(
            dataclasses.replace(training, metadata=training.metadata[["psfsize_r"]]), validation, options=FUSED
        )


def test_only_observing_conditions_may_be_fused():
    with pytest.raises(OptionError, match="metadata = 'label' is not one of psfsize_g"):
        TrainingOptions(metadata=("psfsize_r", "label"))
    with pytest.raises(OptionError, match="twice"):
        TrainingOptions(metadata=("ebv", "ebv"))
    with pytest.raises(OptionError, match="theta_e_arcsec"):
        Detector("resnet18", {}, {"metadata": {"columns": ["theta_e_arcsec"], "mean": [0.0], "sd": [1.0]}})
    with pytest.raises(OptionError, match="positive sds"):
        Detector("resnet18", {}, {"metadata": {"columns": ["ebv"], "mean": [0.0], "sd": [0.0]}})
