from typing import Any, Self

from torch import nn

class StableDiffusionSafetyChecker(nn.Module):
    def __init__(self, config: Any) -> None: ...
    @classmethod
    def from_pretrained(cls, source: Any, **settings: Any) -> Self: ...
