"""A checkpoint survives damage, a full disk and a crash between two writes; the newest sound one is read."""

import json

import pytest
import torch

from recsys import checkpoint as ckpt
from recsys.checkpoint import (
    load_latest,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
    swap_folder,
    verify,
)
from recsys.errors import ConfigError, ModelError, ResourceError


def tensors(value: float) -> dict:
    return {"model": {"weight": torch.full((3, 2), value), "scalar": torch.tensor(value)}, "empty": {}}


def newest(folder):
    found = load_latest(folder)
    assert found is not None
    return found


def test_round_trip_is_bit_exact_with_generator_state(tmp_path):
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    weight = torch.randn(4, 4, dtype=torch.float64)
    groups = {"model": {"a": weight, "tied": weight, "view": weight[:, 1:].t()}, "random": {"g": generator.get_state()}}
    save_checkpoint(tmp_path, 7, groups, {"best": -1.5, "position": [1, 2], "word": "ü"})
    read = newest(tmp_path)
    assert read.step == 7 and read.state == {"best": -1.5, "position": [1, 2], "word": "ü"} and not read.skipped
    assert torch.equal(read.tensors["model"]["view"], weight[:, 1:].t())
    assert torch.equal(read.tensors["model"]["tied"], weight)
    other = torch.Generator()
    other.set_state(read.tensors["random"]["g"])
    assert torch.equal(torch.rand(9, generator=other), torch.rand(9, generator=generator))


def test_none_where_there_is_nothing(tmp_path):
    assert load_latest(tmp_path / "absent") is None
    assert load_latest(tmp_path) is None


def test_keeps_the_newest_two_and_readable_files(tmp_path):
    for step in (5, 10, 200, 30_000_000):
        path = save_checkpoint(tmp_path, step, tensors(step), {"step": step})
    assert [p.name for p in ckpt.list_checkpoints(tmp_path)] == ["step-00000200", "step-30000000"]
    assert newest(tmp_path).step == 30_000_000
    assert (path / "model.safetensors").stat().st_mode & 0o444 == 0o444
    assert not list(tmp_path.glob(".tmp*"))


@pytest.mark.parametrize("damage", ["flip", "truncate", "missing", "no manifest", "manifest list", "state"])
def test_a_damaged_newest_falls_back_and_is_named(tmp_path, damage):
    save_checkpoint(tmp_path, 1, tensors(1), {})
    path = save_checkpoint(tmp_path, 2, tensors(2), {})
    file = path / "model.safetensors"
    if damage == "flip":
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    elif damage == "truncate":
        file.write_bytes(file.read_bytes()[:-3])
    elif damage == "missing":
        file.unlink()
    elif damage == "no manifest":
        (path / "manifest.json").unlink()
    elif damage == "manifest list":
        (path / "manifest.json").write_text("[]")
    else:
        (path / "state.json").write_text(json.dumps({"step": 9}))
    assert not verify(path)
    read = newest(tmp_path)
    assert read.step == 1 and read.skipped == ("step-00000002",)
    save_checkpoint(tmp_path, 2, tensors(5), {})
    assert newest(tmp_path).tensors["model"]["scalar"] == 5


def test_all_damaged_is_an_error_not_a_silent_restart(tmp_path):
    path = save_checkpoint(tmp_path, 1, tensors(1), {})
    (path / "manifest.json").unlink()
    with pytest.raises(ModelError, match="step-00000001"):
        load_latest(tmp_path)


def test_a_full_disk_leaves_the_earlier_ones(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, tensors(1), {})
    save_checkpoint(tmp_path, 2, tensors(2), {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ckpt, "save_file", full)
    with pytest.raises(ResourceError, match="No space left"):
        save_checkpoint(tmp_path, 3, tensors(3), {})
    assert [verify(p) for p in ckpt.list_checkpoints(tmp_path)] == [True, True]
    assert newest(tmp_path).step == 2 and not list(tmp_path.glob(".tmp*"))


@pytest.mark.parametrize("moment", ["_write_files", "swap_folder", "_prune"])
def test_a_crash_at_any_moment_leaves_a_sound_one(tmp_path, monkeypatch, moment):
    save_checkpoint(tmp_path, 1, tensors(1), {})
    original = getattr(ckpt, moment)

    def crash(*args):
        if moment == "_write_files":
            original(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(ckpt, moment, crash)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 2, tensors(2), {})
    assert newest(tmp_path).step == (2 if moment == "_prune" else 1)
    monkeypatch.undo()
    save_checkpoint(tmp_path, 3, tensors(3), {})
    assert newest(tmp_path).step == 3 and not list(tmp_path.glob(".tmp*"))


def test_refuses_what_cannot_be_right(tmp_path):
    save_checkpoint(tmp_path, 8, tensors(1), {})
    with pytest.raises(ConfigError, match="later than step 3"):
        save_checkpoint(tmp_path, 3, tensors(1), {})
    with pytest.raises(ConfigError, match="at least 2"):
        save_checkpoint(tmp_path, 9, tensors(1), {}, keep=1)
    with pytest.raises(ConfigError, match="JSON"):
        save_checkpoint(tmp_path, 9, tensors(1), {"tensor": torch.ones(1)})
    with pytest.raises(ConfigError, match=r"\.\./x"):
        save_checkpoint(tmp_path, 9, {"../x": {}}, {})


def test_optimizer_state_continues_bit_exactly(tmp_path):
    def step(model, optimizer, value):
        optimizer.zero_grad()
        (model(torch.full((2, 3), value)) ** 2).sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    one = torch.optim.AdamW(first.parameters(), lr=0.1)
    for value in (1.0, 2.0):
        step(first, one, value)
    save_checkpoint(tmp_path, 2, {"model": first.state_dict(), "optimizer": optimizer_tensors(one)}, {})
    read = newest(tmp_path)
    two = torch.optim.AdamW(second.parameters(), lr=0.1)
    second.load_state_dict(read.tensors["model"])
    load_optimizer_tensors(two, read.tensors["optimizer"])
    step(first, one, 3.0)
    step(second, two, 3.0)
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)
    with pytest.raises(ModelError, match="fits none"):
        load_optimizer_tensors(torch.optim.AdamW(torch.nn.Linear(4, 4).parameters()), read.tensors["optimizer"])


class Wrapping(torch.optim.AdamW):
    """Hands a part of its state over in a dict of its own, as bitsandbytes does with what is quantised."""

    def state_dict(self):
        found = super().state_dict()
        found["state"] = {
            index: {"step": values["step"], "wrapped": {k: v for k, v in values.items() if k != "step"}}
            for index, values in found["state"].items()
        }
        return found


def test_wrapped_optimizer_state_is_kept_too():
    def after(steps: int, halt: int | None = None) -> torch.Tensor:
        weight = torch.nn.Parameter(torch.ones(4, 3))
        optimizer = Wrapping([weight], lr=0.1)
        for step in range(steps):
            weight.grad = torch.full((4, 3), 1.0 + step)
            optimizer.step()
            if step + 1 == halt:
                kept = {name: value.clone() for name, value in optimizer_tensors(optimizer).items()}
                optimizer = Wrapping([weight], lr=0.1)
                load_optimizer_tensors(optimizer, kept)
        return weight.detach()

    assert torch.equal(after(6), after(6, halt=3))


def test_a_folder_that_cannot_be_swapped_in_leaves_the_earlier_one(tmp_path):
    target = tmp_path / "looks"
    target.mkdir()
    (target / "a").write_text("1")
    with pytest.raises(OSError):
        swap_folder(tmp_path / "not there", target)
    assert [path.name for path in tmp_path.iterdir()] == ["looks"] and (target / "a").read_text() == "1"
    new = tmp_path / ".new"
    new.mkdir()
    swap_folder(new, target)
    assert [path.name for path in tmp_path.iterdir()] == ["looks"] and not list(target.iterdir())
