"""Faster try-on: compute the unguided row and the garment half only now and then.

Guidance in a part of the steps: Kynkäänniemi et al., arXiv 2404.07724; in between, what guidance adds is extrapolated.
Remembering the garment half is ours: in the
corrected variant that half is the clean garment at every step, so inside the UNet it changes only through the time
embedding and what it reads of the person. Between two refreshes the UNet runs on the person half alone and takes from
the last full run what reached across: keys and values of the garment (attention), its mean and variance (group
normalisation) and its first row (3 x 3 convolutions at the seam). With nothing changed since, the result is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.errors import ConfigError

from .attention import self_attentions


@dataclass(frozen=True)
class FastMode:
    """Which work to leave out; FastMode(0, 1, 1, 1) leaves out none."""

    guide_from: float = 0.0
    guide_to: float = 1.0
    """Steps are guided from this share of them to that one (0..1, from noise to picture)."""
    guide_every: int = 5
    """Of these, every so many, 1..100, run with and without the garment; for the others guidance is extrapolated."""
    refresh: int = 1
    """The garment half is computed in every so many steps, 1..100; 1 computes it always."""

    def __post_init__(self) -> None:
        if not 0 <= self.guide_from <= self.guide_to <= 1:
            raise ConfigError(f"guide_from {self.guide_from} and guide_to {self.guide_to} must rise within 0..1")
        for name in ("guide_every", "refresh"):
            if not 1 <= getattr(self, name) <= 100:
                raise ConfigError(f"{name} {getattr(self, name)} must lie in 1..100; 1 leaves nothing out")


@dataclass(frozen=True)
class PlannedStep:
    """Whether a step runs with and without the garment, takes the garment half from memory, or guidance as it was."""

    guided: bool
    reuse: bool
    led: bool = False


def plan_steps(count: int, fast: FastMode | None, *, guided: bool) -> list[PlannedStep]:
    """Plan `count` steps; without `fast`, every step is whole. guided: whether there is any guidance at all.

    A step is never planned from a memory that lacks its unconditional rows.
    """
    if fast is None:
        return [PlannedStep(guided, False)] * count
    plan, age, rows, since = [], fast.refresh, False, fast.guide_every
    for i in range(count):
        within = guided and fast.guide_from <= i / count < fast.guide_to
        asked = within and since >= fast.guide_every
        since = 1 if asked else since + 1
        reuse = age < fast.refresh and (rows or not asked)
        plan.append(PlannedStep(asked, reuse, led=within and not asked))
        age, rows = (age + 1, rows) if reuse else (1, asked)
    return plan


def extrapolate(leads: list[tuple[int, Tensor]], at: int) -> Tensor:
    """What guidance adds in step `at` (B, C, h, w), by what it added in earlier ones: half way to a straight line.

    leads: (step, what was added (B, C, h, w)), the newest last.

    Raises:
        ConfigError: it was never computed.
    """
    if not leads:
        raise ConfigError(f"step {at} is to be led, but none before it was guided; plan a guided step first")
    (last, newest), (first, older) = leads[-1], leads[-2] if len(leads) > 1 else leads[-1]
    if last == first:
        return newest
    return newest + 0.5 * (at - last) / (last - first) * (newest - older)


class GarmentMemory:
    """Within `with`, lets a UNet run on the person half alone after a run on both; outside, the UNet is as before.

    Set `mode` to "record" before a run on person above garment, (B, C, 2h, w), and to "reuse" before one on the person,
    (B, C, h, w); B may be smaller then, and the last B rows are taken. h must be divisible by the UNet's downscaling.
    """

    def __init__(self, unet: nn.Module) -> None:
        self.unet, self.mode = unet, "record"
        self.mode: Literal["record", "reuse"]
        self.kept: dict[nn.Module, tuple[Tensor, ...]] = {}

    def __enter__(self) -> "GarmentMemory":
        layers: Any = self_attentions(self.unet).values()
        self.processors = [(layer, layer.processor) for layer in layers]
        for layer in layers:
            layer.set_processor(self._attend)
        kinds: dict[type[nn.Module], Callable] = {nn.GroupNorm: self._normalise, nn.Conv2d: self._convolve}
        modules = [module for module in self.unet.modules() if type(module) in kinds and not _is_pointwise(module)]
        self.hooks = [module.register_forward_hook(kinds[type(module)]) for module in modules]
        return self

    def __exit__(self, *_) -> None:
        for layer, processor in self.processors:
            layer.set_processor(processor)
        for hook in self.hooks:
            hook.remove()
        self.kept.clear()

    def _recall(self, module: nn.Module, rows: int) -> tuple[Tensor, ...]:
        return tuple(tensor[-rows:] for tensor in self.kept[module])

    def _attend(self, attn, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None) -> Tensor:
        """Self-attention over tokens (B, N, C), person before garment, or over the person's and remembered keys."""
        key, value = attn.to_k(hidden_states), attn.to_v(hidden_states)
        if self.mode == "record":
            half = key.shape[1] // 2
            self.kept[attn] = (key[:, half:].clone(), value[:, half:].clone())
        else:
            key, value = (torch.cat(pair, 1) for pair in zip((key, value), self._recall(attn, len(key))))
        heads = lambda x: x.unflatten(2, (attn.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(heads(attn.to_q(hidden_states)), heads(key), heads(value))
        return attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(2)))

    def _normalise(self, module: nn.GroupNorm, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        """Normalise by the moments of both halves, one of them remembered."""
        x = inputs[0]
        if self.mode == "record":
            self.kept[module] = _moments(x[:, :, x.shape[2] // 2 :], module.num_groups)
            return None
        (mean_a, var_a), (mean_b, var_b) = _moments(x, module.num_groups), self._recall(module, len(x))
        mean, var = (mean_a + mean_b) / 2, (var_a + var_b) / 2 + ((mean_a - mean_b) / 2).square()
        width = x.shape[1] // module.num_groups
        scale = (var + module.eps).rsqrt().repeat_interleave(width, 1) * module.weight.float()
        shift = module.bias.float() - mean.repeat_interleave(width, 1) * scale
        return (x * scale[:, :, None, None] + shift[:, :, None, None]).to(x.dtype)

    def _convolve(self, module: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        """Let the last row of the person see the garment's first one, which lay below it."""
        x = inputs[0]
        if self.mode == "record":
            half = x.shape[2] // 2
            self.kept[module] = (x[:, :, half : half + 1].clone(),)
            return None
        (row,) = self._recall(module, len(x))
        output[:, :, -1:] += F.conv2d(row, module.weight[:, :, 2:], padding=(0, 1))
        return output


def _is_pointwise(module: nn.Module) -> bool:
    """Tell whether a convolution never looks across the seam: 1 x 1, or of stride 2, whose last window ends before."""
    return isinstance(module, nn.Conv2d) and (module.kernel_size != (3, 3) or module.stride != (1, 1))


def _moments(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and variance (B, groups) of x (B, C, h, w) over the channels of each group, in float32."""
    flat = x.float().reshape(len(x), groups, -1)
    return flat.mean(2), flat.var(2, correction=0)
