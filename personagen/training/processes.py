"""Several processes under torchrun: each takes its share of a step, gradients are added up, the first one saves."""

import os
from datetime import timedelta

import torch
from torch import Tensor, nn


class Processes:
    """The processes of this run; a single one where torchrun was not used."""

    def __init__(self) -> None:
        self.count, self.rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        if self.count > 1:
            from accelerate import PartialState

            # joins the process group that torchrun describes; the others wait long while the first one prepares
            PartialState(timeout=timedelta(days=1))

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def own(self, device: torch.device) -> torch.device:
        """Return this process's GPU where the device is "a GPU", else the device."""
        if device.type != "cuda" or device.index is not None or self.count == 1:
            return device
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    def mine(self, place: int) -> bool:
        """Whether the chunk or row at a place of the step is this process's."""
        return place % self.count == self.rank

    def add_up(self, parameters: list[nn.Parameter], loss: float) -> float:
        """Add gradients and loss up over all processes; return the loss."""
        if self.count == 1:
            return loss
        total = torch.tensor(loss, dtype=torch.float64, device="cpu")
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        tensors: list[Tensor] = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)
        on_device = total.to(tensors[0].device, torch.float32 if tensors[0].device.type != "cpu" else torch.float64)
        torch.distributed.all_reduce(on_device)
        return float(on_device)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()
