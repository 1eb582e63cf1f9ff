"""cluster_pu: clusters that lens clusters, ranked from few known ones, with probabilities that mean what they say."""

from skytrace.pipelines.cluster_pu.pipeline import create_pipeline

__all__ = ["create_pipeline"]
