"""cluster_modelling: mass models of the best candidates of cluster_pu, in its validation phase only."""

from skytrace.pipelines.cluster_modelling.pipeline import create_pipeline

__all__ = ["create_pipeline"]
