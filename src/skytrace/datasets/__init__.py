"""Kedro datasets for what astronomers keep: arrays, images, detectors, posteriors, pages and surveys."""

from skytrace.datasets.atomic import AtomicCSVDataset, AtomicJSONDataset, AtomicParquetDataset
from skytrace.datasets.cluster_images import ClusterImageTablesDataset, MockClusterImagesDataset
from skytrace.datasets.cluster_survey import ClusterMosaicDataset, MockClustersDataset
from skytrace.datasets.detector import DetectorDataset, EnsembleDataset
from skytrace.datasets.figure import FigureDataset
from skytrace.datasets.fits_image import FITSImageDataset
from skytrace.datasets.html import HTMLDataset
from skytrace.datasets.npz import NPZDataset
from skytrace.datasets.posterior import PosteriorDataset
from skytrace.datasets.supernova_spectrum import MockSpectrumDataset, SN2011feDataset, SpectrumFileDataset
from skytrace.datasets.supernova_survey import MockSupernovaDataset, SnanaSupernovaDataset, SupernovaTablesDataset
from skytrace.datasets.survey import DecamFieldsDataset, LegacySurveyDataset, MockSurveyDataset
from skytrace.datasets.transformer import TransformerDataset

__all__ = [
    "AtomicCSVDataset",
    "AtomicJSONDataset",
    "AtomicParquetDataset",
    "ClusterImageTablesDataset",
    "ClusterMosaicDataset",
    "DecamFieldsDataset",
    "DetectorDataset",
    "EnsembleDataset",
    "FITSImageDataset",
    "FigureDataset",
    "HTMLDataset",
    "LegacySurveyDataset",
    "MockClusterImagesDataset",
    "MockClustersDataset",
    "MockSpectrumDataset",
    "MockSupernovaDataset",
    "MockSurveyDataset",
    "NPZDataset",
    "PosteriorDataset",
    "SN2011feDataset",
    "SnanaSupernovaDataset",
    "SpectrumFileDataset",
    "SupernovaTablesDataset",
    "TransformerDataset",
]
