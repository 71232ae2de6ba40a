"""Where to compute and how finely, for commands and loaders alike; torch is imported only when it is asked."""

import importlib.util
import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

from recsys.errors import ConfigError, ResourceError

if TYPE_CHECKING:
    import torch

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Offload = Literal["none", "model", "group", "sequential"]
DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
FINE_TILES = 512
"""Sides of pictures from which an autoencoder may work in tiles; in smaller ones the seams would show."""
COMPILERS = ("g++", "clang++", "c++", "cl")
COMPILER = "inductor"
"""What compiles a UNet, by torch's name."""
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
    """Keep models in main memory and bring them to the GPU one at a time (model), layer by layer ahead of need (group)
    or layer by layer (sequential: the least memory, and slow)."""
    compile: bool = False
    """Compile the UNet first: minutes once, then faster steps; worth it for many pictures of one size."""

    def compute(self) -> "Compute":
        """Decide where and how to compute here.

        Raises:
            ConfigError, ResourceError: as `resolve` does.
        """
        return resolve(self.device, dtype=self.dtype, offload=self.offload, compile=self.compile)


@dataclass(frozen=True)
class Compute:
    """Where models lie and in which precision; the default is a CPU in float32. `resolve` makes one of "auto".

    device: cpu, mps, cuda or cuda:N. dtype: "auto" is float32 on a CPU, else half. offload, compile: as
    `ComputeSettings` says.
    """

    device: str = "cpu"
    dtype: Dtype = "auto"
    offload: Offload = "none"
    compile: bool = False

    @property
    def torch_dtype(self) -> "torch.dtype":
        """The precision of the weights in memory."""
        import torch

        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        if self.device == "cpu":
            return torch.float32
        coarse = multiplies_in_bfloat16(torch.device(self.device))
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
        """Put a diffusion pipeline where it computes; on a GPU it saves memory where it can. Returns the pipeline."""
        if self.device != "cpu":
            _save_memory(pipe, self.device)
        if self.offload == "model":
            pipe.enable_model_cpu_offload(device=self.device)
        elif self.offload == "sequential":
            pipe.enable_sequential_cpu_offload(device=self.device)
        elif self.offload == "group":
            _offload_groups(pipe, self.device)
        else:
            pipe.to(self.device)
        if self.compile:
            pipe.unet.compile(backend=COMPILER)
        return pipe


def _save_memory(pipe: Any, device: str) -> None:
    """Let the autoencoder work on one picture, a large one in tiles; attention in slices without a flash kernel."""
    import torch

    if getattr(pipe, "vae", None) is not None:
        pipe.vae.enable_slicing()
        if pipe.vae.config.sample_size >= FINE_TILES:
            pipe.vae.enable_tiling()
    flash = torch.backends.cuda.is_flash_attention_available()
    if device == "mps" or device.startswith("cuda") and not flash:
        pipe.enable_attention_slicing()


def _offload_groups(pipe: Any, device: str) -> None:
    """Keep every layer in main memory; on CUDA the next ones come while one computes."""
    import torch

    pipe.enable_group_offload(
        onload_device=torch.device(device),
        offload_device=torch.device("cpu"),
        offload_type="leaf_level",
        use_stream=device.startswith("cuda"),
    )


CPU = Compute()
"""What loaders take unasked."""


def resolve(
    device: str = "auto", *, dtype: Dtype = "auto", offload: Offload = "none", compile: bool = False
) -> Compute:
    """Decide where and how to compute on this machine.

    device: "auto" takes a CUDA GPU, else Apple's mps, else the CPU.

    Raises:
        ConfigError: an unknown device, dtype or offload, or compile with an offload that moves layers.
        ResourceError: the device is not there, or offload is asked of a machine without one, or there is no compiler.
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
    if compile:
        _check_compiler(found, offload)
    return Compute(found, dtype, offload, compile)


def _check_compiler(device: str, offload: Offload) -> None:
    if offload in ("group", "sequential"):
        raise ConfigError(
            f"compile cannot go with offload {offload}, which moves single layers; use offload model or none"
        )
    if device == "cpu" and not any(shutil.which(name) for name in (os.environ.get("CXX"), *COMPILERS) if name):
        raise ResourceError("compile needs a C++ compiler on a CPU and none is here; install g++, or leave compile out")
    if device.startswith("cuda") and importlib.util.find_spec("triton") is None:
        raise ResourceError(
            "compile needs triton on a GPU, which is not installed; pip install triton, or leave it out"
        )


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


def multiplies_in_bfloat16(device: "torch.device") -> bool:
    """Tell whether a device has instructions for bfloat16; where it has none, computing in it is slower by far."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and half_is_fast()


@cache
def half_is_fast() -> bool:
    """Tell whether this CPU multiplies in bfloat16: networks then take half the time."""
    import torch

    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


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
        f"memory ran out ({what}); these help: --dtype bfloat16, --offload model, group or sequential (with a GPU), "
        "fewer or smaller pictures, --device cpu"
    )


def is_compiler_error(error: BaseException) -> bool:
    """Tell whether an error came out of torch's compiler."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def compiler_failed(error: BaseException) -> ResourceError:
    """Say in one line what to do when torch's compiler fails."""
    what = " ".join(str(error).split()).partition(". ")[0][:160] or type(error).__name__
    return ResourceError(f"the model cannot be compiled here ({what}); leave compile out")
