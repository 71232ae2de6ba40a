"""The try-on pipeline, for diffusers' custom_pipeline; personagen must be installed."""

from personagen.tryon.pipeline import TryOnPipeline

__all__ = ["TryOnPipeline"]
