"""Bytes that real-size models take: parameters, and the most that is alive while they compute, from the meta device.

    python benchmarks/memory.py

Nothing is computed and nothing is loaded: models are built without weights, run once on the meta device, and every
tensor that they make is counted while it lives. Fused attention is taken to keep nothing of its scores. What a real
device adds (workspaces of convolutions, fragments) is not in the figures; `personagen doctor` rounds them up.
"""

import argparse
import json
import weakref
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

RESULTS = Path(__file__).parent / "results" / "memory.json"
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
          "projection_dim": 1280}  # fmt: skip
UNETS: dict[str, dict[str, Any]] = {
    "SD 1.5": {"cross_attention_dim": 768},
    "try-on": {"cross_attention_dim": 768, "in_channels": 9},
    "SDXL": {
        "cross_attention_dim": 2048, "block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}  # fmt: skip
CELLS = {"SD 1.5": (64, 64), "try-on": (256, 96), "SDXL": (128, 128)}
"""Latents (h, w) of the pictures asked for: 512 x 512, person above garment of 1024 x 768, 1024 x 1024."""
TILE = 64
"""Side in latents of what an autoencoder decodes at once on a GPU; larger pictures are cut up."""


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside and still live, weights apart, and the most at a time."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.now = self.most = 0
        self.seen = {weight.untyped_storage()._cdata for weight in module.parameters()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.seen:
            return
        self.seen.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.now -= size
        self.seen.discard(key)


def fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **settings: Any) -> torch.Tensor:
    """Stand for fused attention: only the result is kept."""
    return torch.empty_like(query)


def parts(name: str) -> dict[str, torch.nn.Module]:
    """Build the parts of a model on the meta device, in half precision."""
    logging.set_verbosity_error()
    with torch.device("meta"):
        found: dict[str, torch.nn.Module] = {
            "unet": UNet2DConditionModel(**UNETS[name]),
            "vae": AutoencoderKL(
                block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4,
            ),
        }  # fmt: skip
        if name != "try-on":
            found["text_encoder"] = CLIPTextModel(CLIPTextConfig(**CLIP_L))
        if name == "SDXL":
            found["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_G))
    return {part: module.to(torch.bfloat16).eval() for part, module in found.items()}


@torch.no_grad()
def most(name: str, found: dict[str, Any]) -> dict[str, int]:
    """Run a guided step of the UNet and a decoding, and return the most bytes alive in each, weights apart."""
    height, width = CELLS[name]
    like: dict[str, Any] = {"device": "meta", "dtype": torch.bfloat16}
    channels = found["unet"].config["in_channels"]
    text = torch.empty(2, 77, found["unet"].config["cross_attention_dim"], **like)
    added = {"text_embeds": torch.empty(2, 1280, **like), "time_ids": torch.empty(2, 6, **like)}
    taken = {}
    with patch.object(F, "scaled_dot_product_attention", fused):
        with Alive(found["unet"]) as alive:
            found["unet"](
                torch.empty(2, channels, height, width, **like), torch.empty(2, **like), encoder_hidden_states=text,
                added_cond_kwargs=added if name == "SDXL" else None,
            )  # fmt: skip
        taken["step"] = alive.most
        height = height // 2 if name == "try-on" else height  # of the person alone
        for label, size in (("decode", (height, width)), ("decode_tile", (min(TILE, height), min(TILE, width)))):
            with Alive(found["vae"]) as alive:
                found["vae"].decode(torch.empty(1, 4, *size, **like))
            taken[label] = alive.most
    return taken


def main() -> None:
    """Write the figures of all models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    out = parser.parse_args().out
    figures = {}
    for name in UNETS:
        found = parts(name)
        counted = {part: sum(p.numel() for p in module.parameters()) for part, module in found.items()}
        figures[name] = {"parameters": counted, "bytes_alive_in_half": most(name, found)}
        print(name, json.dumps(figures[name]), flush=True)
    out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
