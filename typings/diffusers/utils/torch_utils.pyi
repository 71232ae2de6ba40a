import torch
from torch import Tensor

def randn_tensor(
    shape: tuple[int, ...],
    generator: list[torch.Generator] | torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor: ...
