"""Adapters that no LoRA layer computes: worked out as the change of a weight and written as a LoRA of full rank.

That is DoRA with magnitudes along the inputs (as LyCORIS and OneTrainer write it), on a text encoder, or on some layers
only; LoHa; and LoKr. DoRA: Liu et al., arXiv 2402.09353. LoHa: Hyeon-Woo et al., arXiv 2108.06098. LoKr: Yeh et al.,
arXiv 2309.14859. A strength w then gives W + w (W' - W), as the web UIs do.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")
LOKR = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")


def rank_of(parts: Mapping[str, Tensor]) -> int | None:
    """Return the rank that alpha is divided by: None for a LoKr of two whole matrices, whose scale is 1."""
    for name in ("down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b"):
        if name in parts:
            return parts[name].shape[0]
    return None


def change_of(parts: Mapping[str, Tensor], weight: Tensor, *, scale: float) -> Tensor:
    """Return W' - W in float32 for a layer's weight W (out, in) or (out, in, h, w).

    parts: down (r, in), up (out, r), `mid` (r, r, h, w) for a convolution in three steps; or those of LOHA or LOKR; and
    `magnitude`, one number an output (out, 1) or an input (1, in), whose norm the changed weight then has.

    Raises:
        ValueError, RuntimeError: the parts do not fit each other or the weight.
    """
    base = weight.detach().float()
    parts = {name: value.float().to(base.device) for name, value in parts.items()}
    change = scale * _product(parts).reshape(base.shape)
    magnitude = parts.get("magnitude")
    if magnitude is None:
        return change
    changed = base + change
    if magnitude.numel() not in (base.shape[0], base.shape[1]):
        raise ValueError(f"magnitudes of {tuple(magnitude.shape)} for a weight of {tuple(base.shape)}")
    kept = 0 if along_outputs(magnitude, base.shape) else 1
    norm = changed.transpose(0, kept).flatten(1).norm(dim=1)
    shape = [1] * base.ndim
    shape[kept] = -1
    return changed * (magnitude.flatten() / norm).reshape(shape) - base


def along_outputs(magnitude: Tensor, shape: torch.Size) -> bool:
    """Tell whether magnitudes (out, 1, ...) or (out,) belong to outputs; (1, in, ...) to inputs."""
    return magnitude.ndim < 2 or (magnitude.shape[0] == shape[0] and magnitude.numel() == shape[0])


def as_lora(change: Tensor) -> tuple[Tensor, Tensor]:
    """Write a change (out, in[, h, w]) as lora_A and lora_B with lora_B lora_A = change, exactly."""
    out, inside = change.shape[:2]
    if change.ndim == 2 and inside < out:
        return torch.eye(inside), change.contiguous()
    unit = torch.eye(out)
    return change.contiguous(), unit[..., None, None] if change.ndim == 4 else unit


def with_mid(down: Tensor, mid: Tensor) -> Tensor:
    """Put the first two steps of a convolution, (r, in, 1, 1) and (r, r, h, w), into one of (r, in, h, w)."""
    return torch.einsum("ijhw,jc->ichw", mid.float(), down.float().flatten(1))


def _product(parts: Mapping[str, Tensor]) -> Tensor:
    if "down" in parts:
        down = with_mid(parts["down"], parts["mid"]) if "mid" in parts else parts["down"]
        return parts["up"].flatten(1) @ down.flatten(1)
    if "hada_w1_a" in parts:
        return _factor(parts, "hada_w1", "hada_t1") * _factor(parts, "hada_w2", "hada_t2")
    one, two = _factor(parts, "lokr_w1", None), _factor(parts, "lokr_w2", "lokr_t2")
    return torch.kron(one[..., None, None] if two.ndim == 4 else one, two)


def _factor(parts: Mapping[str, Tensor], name: str, core: str | None) -> Tensor:
    """A matrix given whole, as a product a b, or with a core (r, r, h, w) between, as Tucker's form is."""
    if name in parts:
        return parts[name]
    a, b = parts[f"{name}_a"], parts[f"{name}_b"]
    if core in parts:
        return torch.einsum("ijhw,jc,io->ochw", parts[core], b, a)
    return a @ b
