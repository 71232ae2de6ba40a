"""Files of figures: what they say, what other programs read in them, and Khronos' own verdict."""

import io
import json
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from personagen.figure.geometry import fit_normals
from personagen.figure.gltf import Clip, glb_bytes, quaternion, same_side, whole_weights, write_glb
from personagen.figure.obj import write_obj
from personagen.figure.poses import POSES, placed, strides_of, take_pose
from personagen.figure.shell import Goal, Shell
from personagen.figure.texels import look
from recsys.errors import ConfigError
from tests.personagen.figure.decoded import Decoded
from tests.personagen.figure.puppet import puppet, skeleton

VALIDATOR = Path(__file__).parents[3] / ".venv" / "node_modules" / "gltf-validator"
"""Where `make test` puts Khronos' validator."""
ASK = """
const check = require(process.argv[1]), bytes = new Uint8Array(require('fs').readFileSync(process.argv[2]));
check.validateBytes(bytes).then(report => console.log(JSON.stringify(report.issues)));
"""


def test_layers_are_nodes_of_their_own_names_with_one_material_and_the_provenance():
    read = Decoded(glb_bytes(puppet(), record={"kind": "figure", "seed": 3}))
    assert read.tree["asset"]["extras"] == {"schema": "personagen/1", "kind": "figure", "seed": 3}
    assert read.node("t-shirt")["mesh"] != read.node("body")["mesh"]
    (material,) = read.tree["materials"]
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 1.0
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    assert [mesh["extras"]["kind"] for mesh in read.tree["meshes"]] == ["body", "t-shirt"]
    view = read.tree["bufferViews"][read.tree["images"][0]["bufferView"]]
    image = Image.open(io.BytesIO(read.binary[view["byteOffset"] :][: view["byteLength"]]))
    assert image.size == puppet().texture.size


@pytest.mark.parametrize("name", ["photo", "arms raised", "walking"])
def test_a_viewer_shows_the_pose_that_skinning_gives(name):
    """The file's nodes and inverse bind matrices, followed by the specification, give what `take_pose` gives."""
    figure = puppet()
    read = Decoded(glb_bytes(figure, pose=placed(figure, POSES[name])))
    for layer in take_pose(figure, POSES[name]).layers:
        assert np.allclose(read.vertices(layer.name), layer.vertices, atol=2e-4)


def test_a_walk_moves_the_bones_as_its_key_poses_do():
    figure = puppet()
    walk = strides_of(puppet())
    read = Decoded(glb_bytes(figure, clips=[Clip("walk", walk, seconds=1.0)]))
    (clip,) = read.tree["animations"]
    times = read.read(clip["samplers"][0]["input"])[:, 0]
    assert clip["name"] == "walk" and times[0] == 0 and times[-1] == 1 and len(times) == len(walk)
    for key in range(len(walk)):
        turned = {channel["target"]["node"]: read.read(clip["samplers"][channel["sampler"]]["output"])[key]
                  for channel in clip["channels"] if channel["target"]["path"] == "rotation"}  # fmt: skip
        worlds = read.worlds(turned)[read.tree["skins"][0]["joints"]]
        assert np.allclose(worlds[:, :3, :3], walk[key][0], atol=1e-5)


def shaded(figure):
    """The figure, darker behind."""
    dark = lambda layer: np.where(layer.vertices[:, 2:] < 0, 0.4, 1.0).repeat(3, 1).astype(np.float32)
    return replace(figure, layers=tuple(replace(layer, light=dark(layer)) for layer in figure.layers))


def test_the_photo_s_light_is_written_for_viewers_without_a_lamp_alone():
    figure = shaded(puppet())
    attributes = lambda read: read.tree["meshes"][0]["primitives"][0]["attributes"]
    read = Decoded(glb_bytes(figure, unlit=True))
    assert np.allclose(read.read(attributes(read)["COLOR_0"])[:, :3], figure.layers[0].light, atol=1e-4)
    assert "COLOR_0" not in attributes(Decoded(glb_bytes(figure)))


def test_trimesh_reads_the_same_surfaces(tmp_path):
    figure = puppet()
    scene = trimesh.load_scene(write_glb(figure, tmp_path / "me.glb"))
    assert set(scene.geometry) == {"body", "t-shirt"}
    for layer in figure.layers:
        mesh = scene.geometry[layer.name]
        assert np.allclose(mesh.vertices, layer.vertices, atol=1e-6) and (mesh.faces == layer.faces).all()
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
        assert np.allclose(mesh.visual.uv, np.stack([layer.uv[:, 0], 1 - layer.uv[:, 1]], 1), atol=1e-6)  # v upwards


@pytest.mark.parametrize("name", ["me.zip", "me", "me.obj"])
def test_trimesh_reads_the_same_surfaces_from_obj(tmp_path, name):
    figure, path = puppet(), write_obj(puppet(), tmp_path / name)
    if path.suffix == ".zip":
        zipfile.ZipFile(path).extractall(tmp_path / "me")
    scene = trimesh.load_scene(tmp_path / "me" / "me.obj", split_object=True, group_material=False)
    meshes = list(scene.geometry.values())
    assert sorted(len(mesh.faces) for mesh in meshes) == sorted(len(layer.faces) for layer in figure.layers)
    assert all(mesh.is_watertight and mesh.volume > 0 for mesh in meshes)
    assert Image.open(tmp_path / "me" / "me.png").size == figure.texture.size


def of_another_shape(figure):
    """The figure, moved to normals that all look a little upwards from behind."""
    camera = look(figure, 180, (64, 48)).camera
    goal = Goal(camera, np.zeros((128, 96, 3)), np.ones((128, 96)))
    normals = Shell.of(figure).seen(goal).normals + [0.0, 0.3, 0.0]
    moved = fit_normals(figure, [replace(goal, normals=normals / np.linalg.norm(normals, axis=2, keepdims=True))])
    assert moved.moved > 0.002
    return moved.figure


def test_khronos_validator_finds_nothing(tmp_path):
    if shutil.which("node") is None or not VALIDATOR.is_dir():
        pytest.skip("needs node and Khronos' validator: npm install --prefix .venv gltf-validator")
    figure = puppet()
    pose, walk = placed(figure, POSES["waving"]), [Clip("walk", strides_of(puppet()))]
    bare = replace(figure, skeleton=None, layers=tuple(replace(x, bones=None, weights=None) for x in figure.layers))
    files = {
        "rigged": glb_bytes(figure, record={"kind": "figure"}, pose=pose, clips=walk),
        "unlit": glb_bytes(figure, unlit=True),
        "in the photo's light": glb_bytes(shaded(figure), unlit=True),
        "bare": glb_bytes(bare),
        "of another shape": glb_bytes(of_another_shape(figure), pose=pose, clips=walk),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        asked = subprocess.run(["node", "-e", ASK, "--", str(VALIDATOR), str(tmp_path / name)], capture_output=True,
                               text=True, check=True)  # fmt: skip
        issues = json.loads(asked.stdout)
        assert issues["messages"] == [], (name, issues["messages"][:3])


def test_weights_are_whole_numbers_that_sum_to_one():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(4), 500).astype(np.float32)
    weights[:100, 2:] = 0
    bones, whole = whole_weights(rng.integers(1, 9, (500, 4)), weights / weights.sum(1, keepdims=True))
    assert whole.dtype == np.uint16 and (whole.astype(int).sum(1) == 65535).all()
    assert (bones[whole == 0] == 0).all()


def test_quaternions_are_those_of_the_rotations():
    turns = [*Rotation.random(50, random_state=0).as_matrix(), np.eye(3), np.diag([1.0, -1.0, -1.0])]
    for turn in turns:
        assert np.allclose(Rotation.from_quat(quaternion(turn)).as_matrix(), turn, atol=1e-9)
    spins = same_side(np.array([[0, 0, 0, 1.0], [0, 0, 0, -1.0], [0, 0, 1.0, 0]]))
    assert (spins[1] == spins[0]).all()


def test_a_texture_of_any_size_is_padded_and_its_places_are_kept():
    """Validators and old graphics cards ask for sides of 2^n."""
    figure = puppet()
    odd = replace(figure, texture=figure.texture.resize((100, 37)))
    (plain, padded) = (Decoded(glb_bytes(one)) for one in (figure, odd))
    view = padded.tree["bufferViews"][padded.tree["images"][0]["bufferView"]]
    image = Image.open(io.BytesIO(padded.binary[view["byteOffset"] :][: view["byteLength"]]))
    assert image.size == (128, 64)
    at = padded.tree["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]
    assert np.allclose(padded.read(at) * [128 / 100, 64 / 37], plain.read(at), atol=1e-6)


def test_the_same_figure_gives_the_same_bytes():
    assert glb_bytes(puppet(), record={"kind": "figure"}) == glb_bytes(puppet(), record={"kind": "figure"})


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\.glb"):
        write_glb(puppet(), tmp_path / "me.gltf")
    assert list(tmp_path.iterdir()) == []


def test_bones_hang_on_their_parents_and_the_rest_pose_is_the_photo_s():
    bones = skeleton()
    read = Decoded(glb_bytes(puppet()))
    worlds = read.worlds()[read.tree["skins"][0]["joints"]]
    assert np.allclose(worlds[:, :3, 3], bones.heads, atol=1e-6)
    assert [read.tree["nodes"][at]["name"] for at in read.tree["skins"][0]["joints"]] == list(bones.names)
