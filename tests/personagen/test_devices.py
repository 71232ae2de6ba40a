"""Where and how finely models compute: what auto chooses, what is refused, half precision, offloading."""

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from PIL import Image

from personagen import devices
from personagen.devices import CPU, Compute, _save_memory, is_out_of_memory, out_of_memory, resolve
from personagen.models import load_text2image, load_tryon
from personagen.person import parser as parsers
from personagen.subject.loaded import load_subjects
from personagen.tryon.fast import FastMode
from recsys.errors import ConfigError, ResourceError
from tests.apps.tiny import SIZE, pipelines


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    tryon, text2image = pipelines()
    tryon.save_pretrained(folder / "tryon")
    text2image.save_pretrained(folder / "text2image")
    return {"tryon": str(folder / "tryon"), "text2image": str(folder / "text2image")}


@pytest.fixture
def gpus(monkeypatch):
    """Let this machine believe that it has `count` GPUs, with or without bfloat16."""

    def pretend(count: int, *, bf16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return pretend


def wear(pipe, **settings) -> np.ndarray:
    rng = np.random.default_rng(0)
    person, garment = (Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)) for _ in range(2))
    mask = np.zeros(SIZE, bool)
    mask[10:50, 8:40] = True
    noise = torch.Generator().manual_seed(0)
    return np.asarray(pipe(person, garment, mask, num_inference_steps=2, generator=noise, **settings).images[0])


def paint(pipe) -> np.ndarray:
    return np.asarray(pipe("a person", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0])


def test_auto_takes_the_gpu_and_half_precision_there(gpus, monkeypatch):
    gpus(0)
    assert resolve() == CPU and resolve().torch_dtype == torch.float32
    assert resolve("cpu", dtype="bfloat16").torch_dtype == torch.bfloat16
    gpus(2)
    assert resolve() == Compute("cuda") and resolve().torch_dtype == torch.bfloat16
    assert resolve("cuda:1", dtype="float32", offload="model") == Compute("cuda:1", "float32", "model")
    assert resolve("cpu") == CPU
    gpus(1, bf16=False)
    assert resolve().torch_dtype == torch.float16
    gpus(0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    found = resolve()
    assert (found.device, found.torch_dtype, found.recommender_device) == ("mps", torch.float16, "cpu")


def test_what_is_unknown_or_absent_is_named_with_a_remedy(gpus):
    gpus(0)
    unknown: Any = (({"device": "gpu"}, "cuda:N"), ({"device": "cuda:x"}, "cuda:x"), ({"dtype": "int8"}, "int8"),
                           ({"offload": "disk"}, "sequential"))  # fmt: skip
    for settings, says in unknown:
        with pytest.raises(ConfigError, match=says):
            resolve(**settings)
    absent: Any = (({"device": "cuda"}, "use device cpu or auto"), ({"device": "mps"}, "mps"),
                           ({"offload": "model"}, "needs a GPU"))  # fmt: skip
    for settings, says in absent:
        with pytest.raises(ResourceError, match=says):
            resolve(**settings)
    gpus(2)
    with pytest.raises(ResourceError, match="cuda:0 to cuda:1"):
        resolve("cuda:2")


def test_memory_that_ran_out_is_told_from_other_errors():
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has\na capacity of 8 GiB.")
    for error in (full, MemoryError(), RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")):
        line = str(out_of_memory(error)) if is_out_of_memory(error) else ""
        assert "--dtype bfloat16" in line and "--offload model" in line and "\n" not in line
    assert not is_out_of_memory(RuntimeError("a bug")) and not is_out_of_memory(OSError("out of memory of the past"))


def test_loaders_place_weights_as_asked(saved):
    """On the meta device nothing is computed, but everything has to be there."""
    there = Compute("meta", "float16")
    loaded = [load_tryon(saved["tryon"], compute=there), load_text2image(saved["text2image"], compute=there)]
    loaded.append(load_subjects([], base=saved["text2image"], compute=there))
    for pipe in loaded:
        for part in (pipe.unet, pipe.vae, getattr(pipe, "text_encoder", pipe.vae)):
            assert {(p.device.type, p.dtype) for p in part.parameters()} == {("meta", torch.float16)}
        assert pipe.vae.use_slicing and not pipe.vae.use_tiling  # it paints pictures of one small tile
    plain = load_tryon(saved["tryon"])
    assert plain.unet.device.type == "cpu" and plain.unet.dtype == torch.float32 and not plain.vae.use_slicing
    large = pipelines()[0]
    large.vae.register_to_config(sample_size=512)
    assert there.place(large).vae.use_tiling


def test_half_precision_paints_nearly_the_same_picture(saved):
    half = Compute(dtype="bfloat16")
    for load, name, draw in ((load_tryon, "tryon", wear), (load_text2image, "text2image", paint)):
        one, two = (draw(load(saved[name], compute=compute)).astype(int) for compute in (CPU, half))
        assert one.shape == two.shape and 0 < np.abs(one - two).mean() < 4


def test_offloading_changes_no_picture():
    whole, painted = (draw(pipe) for draw, pipe in zip((wear, paint), pipelines()))
    for offload in (_by_model, _by_groups, _layer_by_layer):
        tryon, text2image = pipelines()[0], pipelines()[1]  # which share no autoencoder
        for pipe in (tryon, text2image):
            offload(pipe)
        assert (wear(tryon) == whole).all() and (wear(tryon) == whole).all()
        assert (paint(text2image) == painted).all()
    with pytest.raises(ConfigError, match="offload model"):
        wear(tryon, fast=FastMode(refresh=2))


def _by_model(pipe) -> None:
    assert Compute(offload="model").place(pipe) is pipe and pipe._all_hooks


def _by_groups(pipe) -> None:
    assert Compute(offload="group").place(pipe) is pipe
    if "vae" in pipe.components and not hasattr(pipe, "tokenizer"):
        with pytest.raises(ConfigError, match="offload model"):
            wear(pipe, fast=FastMode(refresh=2))


def _layer_by_layer(pipe) -> None:
    """What diffusers does for a GPU, with the CPU in its place."""
    asked = []
    pipe.enable_sequential_cpu_offload = lambda device: asked.append(device)
    Compute("meta", offload="sequential").place(pipe)
    assert asked == ["meta"]
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            cpu_offload(part, torch.device("cpu"), offload_buffers=len(part._parameters) > 0)
    assert pipe.unet.device.type == "meta"


@pytest.mark.parametrize("fast", [True, False])
def test_the_parser_takes_the_precision_asked_for(monkeypatch, fast):
    monkeypatch.setattr(parsers, "half_is_fast", lambda: fast)
    kinds = [Compute(), Compute(dtype="float32"), Compute(dtype="bfloat16")]
    loaded: list[Any] = [parsers.load_parser(compute=compute) for compute in kinds]
    networks = [parser.args[0] for parser in loaded]
    unasked = torch.bfloat16 if fast else torch.float32
    assert [next(net.parameters()).dtype for net in networks] == [unasked, torch.float32, torch.bfloat16]
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8))
    for compute in kinds:
        assert parsers.load_parser(compute=compute)(photo).parts.shape == (90, 60)


def test_attention_in_slices_where_there_is_no_flash_kernel():
    for device, sliced in (("mps", True), ("meta", False)):
        tryon = pipelines()[0]
        whole = wear(tryon).astype(int)
        _save_memory(tryon, device)
        kinds = {type(processor).__name__ for processor in tryon.unet.attn_processors.values()}
        assert kinds == {"ZeroAttention", "SlicedAttnProcessor" if sliced else "AttnProcessor2_0"}
        assert np.abs(wear(tryon) - whole).max() <= 1 and tryon.vae.use_slicing


def test_compiling_is_asked_of_the_unet_alone(monkeypatch, gpus):
    gpus(0)
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with pytest.raises(ResourceError, match="install g\\+\\+, or leave compile out"):
        resolve("cpu", compile=True)
    monkeypatch.setattr(devices.shutil, "which", lambda name: name)
    compute = resolve("cpu", compile=True)
    compiled: list[Any] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **settings: compiled.append((module, settings)))
    pipe = compute.place(pipelines()[1])
    assert compiled == [(pipe.unet, {"backend": "inductor"})]
    gpus(1)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match="pip install triton"):
        resolve("cuda", compile=True)
    with pytest.raises(ConfigError, match="compile cannot go with offload group"):
        resolve("cuda", offload="group", compile=True)


def test_an_error_of_the_compiler_is_one_line():
    from torch._dynamo.exc import TorchRuntimeError

    error = TorchRuntimeError("a kernel\nfailed. And more")
    assert devices.is_compiler_error(error) and not devices.is_compiler_error(RuntimeError("a bug"))
    assert str(devices.compiler_failed(error)).endswith("leave compile out")
