from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

class _Model(nn.Module):
    config: Any  # a dict whose entries are attributes as well
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...
    @classmethod
    def from_pretrained(cls, source: str | Path, **settings: Any) -> Self: ...
    @classmethod
    def from_single_file(cls, source: str, **settings: Any) -> Self: ...
    @classmethod
    def from_config(cls, config: Mapping[str, Any], **settings: Any) -> Self: ...
    def to(self, *args: Any, **settings: Any) -> Self: ...  # torch has no overload for memory_format alone
    def save_pretrained(self, folder: str | Path, **settings: Any) -> None: ...
    def enable_gradient_checkpointing(self) -> None: ...
    def disable_gradient_checkpointing(self) -> None: ...

class AutoencoderKL(_Model):
    encoder: Any
    decoder: Any
    quant_conv: Any  # nn.Conv2d; None only where use_quant_conv is off
    post_quant_conv: Any
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        down_block_types: tuple[str, ...] = ...,
        up_block_types: tuple[str, ...] = ...,
        block_out_channels: tuple[int, ...] = ...,
        layers_per_block: int = 1,
        act_fn: str = "silu",
        latent_channels: int = 4,
        norm_num_groups: int = 32,
        sample_size: int = 32,
        scaling_factor: float = 0.18215,
        shift_factor: float | None = None,
        force_upcast: bool = True,
        use_quant_conv: bool = True,
        use_post_quant_conv: bool = True,
        mid_block_add_attention: bool = True,
    ) -> None: ...
    def encode(self, x: Tensor) -> Any: ...  # .latent_dist
    def decode(self, z: Tensor) -> Any: ...  # .sample
    def enable_slicing(self) -> None: ...
    def enable_tiling(self) -> None: ...

class ControlNetModel(_Model):
    @classmethod
    def from_unet(cls, unet: UNet2DConditionModel, **settings: Any) -> Self: ...

class UNet2DConditionModel(_Model):
    attn_processors: dict[str, Any]
    conv_in: nn.Conv2d
    conv_out: nn.Conv2d
    down_blocks: Any
    mid_block: Any
    up_blocks: Any
    def __init__(
        self,
        sample_size: int | tuple[int, ...] | None = None,
        in_channels: int = 4,
        out_channels: int = 4,
        down_block_types: tuple[str, ...] = ...,
        up_block_types: tuple[str, ...] = ...,
        block_out_channels: tuple[int, ...] = ...,
        layers_per_block: int | tuple[int, ...] = 2,
        norm_num_groups: int | None = 32,
        cross_attention_dim: int | tuple[int, ...] = 1280,
        attention_head_dim: int | tuple[int, ...] = 8,
        **settings: Any,
    ) -> None: ...
    def set_attn_processor(self, processor: Any) -> None: ...
    def add_adapter(self, config: Any, adapter_name: str = "default") -> None: ...
    def load_lora_adapter(self, source: str | Path | dict[str, Tensor], **settings: Any) -> None: ...
    def save_lora_adapter(self, folder: str | Path, **settings: Any) -> None: ...
