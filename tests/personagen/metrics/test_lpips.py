"""LPIPS: each backbone against its definition written out, and files that do not fit."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from personagen.metrics.lpips import NETS, load_lpips
from recsys.errors import DataError, ModelError

WIDTHS = {
    "alex": (64, 192, 384, 256, 256),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
    "vgg": (64, 128, 256, 512, 512),
}


def weights(name: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(*NETS[name][0]())
    linear = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in enumerate(WIDTHS[name])}
    return {**{f"features.{key}": value for key, value in layers.state_dict().items()}, **linear}


@pytest.mark.parametrize("name", NETS)
def test_it_is_a_distance_that_grows_with_the_noise(name, tmp_path):
    save_file(weights(name), tmp_path / "w.safetensors")
    distance = load_lpips(tmp_path / "w.safetensors")
    a = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(2))
    near, far = ((a + share * noise).clamp(0, 1) for share in (0.02, 0.3))
    assert distance(a, a).tolist() == [0, 0] and distance(a, near).shape == (2,)
    assert (distance(a, near) < distance(a, far)).all() and torch.allclose(distance(a, far), distance(far, a))
    with pytest.raises(DataError, match="32 a side"):
        distance(a, a[..., :20])


def test_the_formula_equals_its_definition(tmp_path):
    tensors = weights("alex")
    save_file(tensors, tmp_path / "w.safetensors")
    a, b = torch.rand(2, 1, 3, 48, 40, generator=torch.Generator().manual_seed(1))
    layers = torch.nn.Sequential(*NETS["alex"][0]())
    layers.load_state_dict({key[9:]: value for key, value in tensors.items() if key.startswith("features.")})
    total, sides = 0.0, []
    for picture in (a, b):
        shift, scale = torch.tensor([-0.03, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.45])
        x = (2 * picture - 1 - shift[:, None, None]) / scale[:, None, None]
        seen = []
        for layer in layers:
            x = layer(x)
            seen.append(x.detach())
        sides.append([seen[i][0].double().numpy() for i in (1, 4, 7, 9, 11)])
    for i, (x, y) in enumerate(zip(*sides)):
        w = tensors[f"lin{i}.model.1.weight"].flatten().double().numpy()
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                u, v = x[:, row, column], y[:, row, column]
                u, v = u / (np.linalg.norm(u) + 1e-10), v / (np.linalg.norm(v) + 1e-10)
                total += (w * (u - v) ** 2).sum() / (x.shape[1] * x.shape[2])
    assert float(load_lpips(tmp_path / "w.safetensors")(a, b)) == pytest.approx(total, rel=1e-5)


def test_weights_that_do_not_fit_are_named(tmp_path):
    tensors = weights("squeeze")
    with pytest.raises(ModelError, match="cannot be read"):
        load_lpips(tmp_path / "none.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="holds no features"):
        load_lpips(tmp_path / "x.safetensors")
    for key in ("lin6.model.1.weight", "features.4.expand3x3.bias"):
        save_file({name: value for name, value in tensors.items() if name != key}, tmp_path / "w.safetensors")
        with pytest.raises(ModelError, match=key):
            load_lpips(tmp_path / "w.safetensors")
