"""Distances between sets of pictures: the formulas against brute force, and a tiny real backbone from disk."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from transformers import CLIPTextConfig, CLIPTextModel, ViTConfig, ViTModel

from personagen.metrics.fid import frechet_distance, kernel_distance, load_features
from recsys.errors import DataError, ModelError


def test_the_formulas_equal_their_definitions():
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(40, 5, generator=rng), 1 + 2 * torch.randn(30, 5, generator=rng)
    c_a, c_b = np.cov(a.double().numpy().T), np.cov(b.double().numpy().T)
    moved = (a.double().mean(0) - b.double().mean(0)).square().sum().item()
    wanted = moved + np.trace(c_a + c_b - 2 * np.real(sqrtm(c_a @ c_b)))
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    k = lambda x, y: float((x.double() @ y.double() / 5 + 1) ** 3)
    pairs = lambda x: np.mean([k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j])
    cross = np.mean([k(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(pairs(a) + pairs(b) - 2 * cross, rel=1e-9)
    with pytest.raises(DataError, match="two rows"):
        frechet_distance(a[:1], b)


def test_a_backbone_from_disk_tells_sets_apart_and_others_are_refused(tmp_path):
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ViTModel(ViTConfig(image_size=32, patch_size=8, **sizes)).save_pretrained(tmp_path / "vit")
    features = load_features(tmp_path / "vit")
    rng = np.random.default_rng(0)
    noise = lambda low, high: [Image.fromarray(rng.integers(low, high, (24, 18, 3), np.uint8)) for _ in range(8)]
    dark, same, bright = (features(noise(*limits)) for limits in ((0, 90), (0, 90), (160, 255)))
    assert dark.shape == (8, 16)
    assert frechet_distance(dark, same) < frechet_distance(dark, bright)
    assert kernel_distance(dark, same) < kernel_distance(dark, bright)
    CLIPTextModel(CLIPTextConfig(vocab_size=50, **sizes)).save_pretrained(tmp_path / "text")
    for folder in ("text", "none"):
        with pytest.raises(ModelError, match="backbone"):
            load_features(tmp_path / folder)
