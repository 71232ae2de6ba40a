"""Virtual try-on by diffusion: the pipeline, its attention and fast mode, outfits."""
