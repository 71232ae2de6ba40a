"""AdamW for tables of which a step touches some rows: the others are left alone, and bfloat16 is rounded at random.

Loshchilov & Hutter, Decoupled Weight Decay Regularization (ICLR 2019). Differs where a gradient is sparse: moments and
weights of its rows alone change, with the step's number in the corrections, as in torch.optim.SparseAdam; what a step
costs then does not grow with the table. Numbers of bfloat16 hold eight bits, so a small change would be lost in
rounding; it is rounded up or down at random, right on average (Gupta et al., Deep Learning with Limited Numerical
Precision, ICML 2015), with draws that depend on the number of the step alone.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class RowAdamW(torch.optim.AdamW):
    """AdamW; parameters with sparse gradients and those of bfloat16 are updated row by row, in float32."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyrefly: ignore[bad-override]
        """Make one update."""
        held = []
        for group in self.param_groups:
            for parameter in group["params"]:
                grad = parameter.grad
                if grad is not None and (grad.is_sparse or parameter.dtype == torch.bfloat16):
                    self._update(parameter, grad, group)
                    held.append((parameter, grad))
                    parameter.grad = None
        result = super().step(closure)
        for parameter, grad in held:
            parameter.grad = grad
        return result

    def _update(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        step, (first, second) = int(state["step"]), group["betas"]
        rows, change = rows_of(grad)
        generator = torch.Generator(parameter.device).manual_seed(step)
        mean = state["exp_avg"][rows].float().lerp_(change, 1 - first)
        square = state["exp_avg_sq"][rows].float().mul_(second).addcmul_(change, change, value=1 - second)
        spread = (square / (1 - second**step)).sqrt_().add_(group["eps"])
        new = parameter[rows].float().mul_(1 - group["lr"] * group["weight_decay"])
        new.addcdiv_(mean, spread, value=-group["lr"] / (1 - first**step))
        for table, values in ((parameter, new), (state["exp_avg"], mean), (state["exp_avg_sq"], square)):
            table[rows] = rounded(values, generator=generator) if table.dtype == torch.bfloat16 else values


def clip_gradients(parameters: Iterable[Tensor], most: float) -> Tensor:
    """Scale all gradients so that their norm together is at most `most`; return what it was, ().

    It is torch.nn.utils.clip_grad_norm_, which knows no sparse gradients.
    """
    values = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad.values())  # the same memory
        elif parameter.grad is not None:
            values.append(parameter.grad)
    norm = nn.utils.get_total_norm(values)
    factor = torch.clamp(most / (norm + 1e-6), max=1.0)
    for value in values:
        value.mul_(factor.to(value.dtype))
    return norm


def rows_of(grad: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (r,) that a gradient touches and what it is there, float32 (r, ...); all rows of a dense one."""
    if not grad.is_sparse:
        return torch.arange(len(grad), device=grad.device), grad.float()
    grad = grad.coalesce()
    return grad.indices()[0], grad.values().float()


def rounded(values: Tensor, *, generator: torch.Generator) -> Tensor:
    """Round float32 values (*) to bfloat16, up or down at random so that the mean is right."""
    bits = values.contiguous().view(torch.int32)
    low = torch.randint(0, 1 << 16, bits.shape, dtype=torch.int32, generator=generator, device=bits.device)
    return ((bits + low) & -65536).view(torch.float32).to(torch.bfloat16)
