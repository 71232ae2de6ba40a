"""Bytes that real-size models need, to say before anything is loaded what fits; no heavy import.

Parameters are counted on models without weights (`benchmarks/memory.py`), as is what is alive while they compute; the
allowances below are these figures rounded up, since convolutions take room to work in and memory is never used whole.
"""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Need:
    """A model of real size. size: in pixels; parameters: of each part; working: bytes beside weights, in half."""

    name: str
    size: str
    parameters: dict[str, int]
    working: int

    def needed(self, *, width: int, offload: str = "none") -> int:
        """Count the bytes on the device, with weights of `width` bytes a number."""
        working = self.working * width // 2
        if offload == "model":
            return max(self.parameters.values()) * width + working
        if offload in ("group", "sequential"):
            return LAYERS * width + working
        return sum(self.parameters.values()) * width + working


LAYERS = 150_000_000
"""Parameters on the GPU at a time when layers come one after the other: the largest layers, and those fetched ahead."""
TEXT = {"text_encoder": 123_060_480}
VAE = {"vae": 83_653_863}
NEEDS = (
    Need("SD 1.5", "512 x 512", {"unet": 859_520_964, **TEXT, **VAE}, 1 * GIB),
    Need("SDXL", "1024 x 1024", {"unet": 2_567_463_684, **TEXT, "text_encoder_2": 694_659_840, **VAE}, 2 * GIB),
    Need("try-on", "1024 x 768", {"unet": 859_535_364, **VAE}, 2 * GIB),
)


def fits(need: Need, free: int, *, width: int, on_gpu: bool) -> tuple[bool, str]:
    """Tell whether a model fits into `free` bytes with weights of `width` bytes a number, and else what would help."""
    if need.needed(width=width) <= free:
        return True, ""
    tries = [("--dtype bfloat16", 2, "none")] if width > 2 else []
    if on_gpu:
        tries += [(f"--offload {offload}", width, offload) for offload in ("model", "group")]
        tries += [(f"--dtype bfloat16 --offload {offload}", 2, offload) for offload in ("model", "group") if width > 2]
    for flags, bytes_each, offload in tries:
        if need.needed(width=bytes_each, offload=offload) <= free:
            return False, flags
    return False, "a smaller picture, or a machine with more memory"
