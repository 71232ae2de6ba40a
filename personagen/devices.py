"""Where to compute and how finely, for commands and loaders alike; torch is imported only when it is asked."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from recsys.errors import ConfigError, ResourceError

if TYPE_CHECKING:
    import torch

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Offload = Literal["none", "model", "sequential"]
DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
FINE_TILES = 512
"""Sides of pictures from which an autoencoder may work in tiles; in smaller ones the seams would show."""
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """Settings of every command that loads a recommender."""

    device: str = "auto"
    """Where to compute: auto (a GPU where there is one), cpu, cuda, cuda:N or mps."""


@dataclass(frozen=True, kw_only=True)
class ComputeSettings(DeviceSettings):
    """Settings of every command that loads a model of pictures."""

    dtype: Dtype = "auto"
    """Precision of the models: auto (half on a GPU, float32 on a CPU), float32, bfloat16 or float16."""
    offload: Offload = "none"
    """Keep models in main memory and bring them to the GPU one at a time (model) or layer by layer (sequential)."""

    def compute(self) -> "Compute":
        """Decide where and how to compute here.

        Raises:
            ConfigError, ResourceError: as `resolve` does.
        """
        return resolve(self.device, dtype=self.dtype, offload=self.offload)


@dataclass(frozen=True)
class Compute:
    """Where models lie and in which precision; the default is a CPU in float32. `resolve` makes one of "auto".

    device: cpu, mps, cuda or cuda:N. dtype: "auto" is float32 on a CPU, else half. offload: as `ComputeSettings` says.
    """

    device: str = "cpu"
    dtype: Dtype = "auto"
    offload: Offload = "none"

    @property
    def torch_dtype(self) -> "torch.dtype":
        """The precision of the weights in memory."""
        import torch

        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        if self.device == "cpu":
            return torch.float32
        coarse = self.device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if coarse else torch.float16

    @property
    def recommender_device(self) -> str:
        """The device for recommenders: their noise takes float64, which mps lacks."""
        return "cpu" if self.device == "mps" else self.device

    def at_first(self) -> "Compute":
        """The same precision on the CPU, for a pipeline that is changed before it is placed."""
        dtype: Any = str(self.torch_dtype).removeprefix("torch.")
        return Compute("cpu", dtype)

    def place(self, pipe: Any) -> Any:
        """Put a diffusion pipeline where it computes; on a GPU its autoencoder saves memory. Returns the pipeline."""
        if self.device != "cpu" and getattr(pipe, "vae", None) is not None:
            pipe.vae.enable_slicing()
            if pipe.vae.config.sample_size >= FINE_TILES:
                pipe.vae.enable_tiling()
        if self.offload == "model":
            pipe.enable_model_cpu_offload(device=self.device)
        elif self.offload == "sequential":
            pipe.enable_sequential_cpu_offload(device=self.device)
        else:
            pipe.to(self.device)
        return pipe


CPU = Compute()
"""What loaders take unasked."""


def resolve(device: str = "auto", *, dtype: Dtype = "auto", offload: Offload = "none") -> Compute:
    """Decide where and how to compute on this machine.

    device: "auto" takes a CUDA GPU, else Apple's mps, else the CPU.

    Raises:
        ConfigError: an unknown device, dtype or offload.
        ResourceError: the device is not there, or offload is asked of a machine without one.
    """
    if dtype not in get_args(Dtype):
        raise ConfigError(f"dtype is {dtype!r}; allowed are {', '.join(get_args(Dtype))}")
    if offload not in get_args(Offload):
        raise ConfigError(f"offload is {offload!r}; allowed are {', '.join(get_args(Offload))}")
    found = str(choose_device(device))
    if device == "auto" and found == "cpu" and _has_mps():
        found = "mps"
    if offload != "none" and found == "cpu":
        raise ResourceError(f"offload {offload} needs a GPU, and the device is cpu; leave offload out")
    return Compute(found, dtype, offload)


def choose_device(name: str) -> "torch.device":
    """Check the device named, or for "auto" choose a CUDA GPU where there is one, else the CPU: what training takes.

    Raises:
        ConfigError: no such device.
        ResourceError: it is not there.
    """
    import torch

    if not DEVICES.fullmatch(name):
        raise ConfigError(f"device is {name!r}; allowed are auto, cpu, cuda, cuda:N and mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    kind, _, number = name.partition(":")
    absent = kind == "cuda" and int(number or 0) >= count or kind == "mps" and not _has_mps()
    if absent:
        others = f"; there are cuda:0 to cuda:{count - 1}" if count else ""
        raise ResourceError(
            f"device {name} is not available here{others}; use device cpu or auto, and see: personagen doctor"
        )
    return torch.device(name)


def _has_mps() -> bool:
    import torch

    return torch.backends.mps.is_available()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on a GPU or beside it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in NO_MEMORY)


def out_of_memory(error: BaseException) -> ResourceError:
    """Say in one line what helps a command with `ComputeSettings` when memory ran out."""
    what = " ".join(str(error).split()).partition(". ")[0].rstrip(".") or type(error).__name__
    return ResourceError(
        f"memory ran out ({what}); these help: --dtype bfloat16, --offload model or sequential (with a GPU), fewer or "
        "smaller pictures, --device cpu"
    )
