from typing import Any

from torch import nn

class BasicTransformerBlock(nn.Module):
    attn1: Any
    attn2: Any
    def __init__(
        self, dim: int, num_attention_heads: int, attention_head_dim: int, *, cross_attention_dim: int | None = None
    ) -> None: ...
