"""The whole of injection_recovery that `kedro run --pipelines injection_recovery` makes."""

from kedro.pipeline import Pipeline

from skytrace.pipelines.injection_recovery import measurement, products

__all__ = ["create_pipeline"]


def create_pipeline(**_: object) -> Pipeline:
    """Hosts, injections, gates, surface, page; then what is made of the surface."""
    return measurement.create_pipeline() + products.create_pipeline()
