"""Where to compute: a device by name, and precisions by the names that configurations use."""

import torch

from recsys.errors import ResourceError

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(name: str) -> torch.device:
    """Return the device named, or for "auto" a GPU where there is one.

    Raises:
        ResourceError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"device {name} is not available here; use device: cpu or auto")
    return device
