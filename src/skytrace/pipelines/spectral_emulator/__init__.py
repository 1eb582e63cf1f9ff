"""spectral_emulator: from atomic data and a simulator to what a supernova is made of."""

from skytrace.pipelines.spectral_emulator.pipeline import create_pipeline

__all__ = ["create_pipeline"]
