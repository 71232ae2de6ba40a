"""What the rasteriser sees, by what the atelier's sees of the same surfaces."""

import numpy as np
import torch
from PIL import Image

from personagen.atelier.body import Body
from personagen.atelier.figure import surfaces
from personagen.atelier.raster import join
from personagen.atelier.raster import rasterise as traced
from personagen.atelier.trace import Camera, place, seen_at
from personagen.figure.body import load_body
from personagen.figure.mesh import Figure, Layer
from personagen.figure.raster import look_up, rasterise, render


def test_faces_and_depths_are_those_of_the_ateliers_rasteriser():
    mesh, camera, size = join(surfaces(Body(), ())), Camera(azimuth=40.0), (160, 120)
    truth = traced(mesh, camera, *size)
    column, row, depth = seen_at(mesh.vertices[:, :3], camera, *size)
    seen = rasterise(np.stack([column, row, 1 / depth], 1), mesh.triangles, size, both=True)
    mask, wanted = seen.face.ravel() >= 0, np.zeros(size[0] * size[1], bool)
    wanted[truth.index] = True
    assert (mask != wanted).mean() < 0.002
    points = seen.value(mesh.vertices[:, :3], mesh.triangles).reshape(-1, 3)[truth.index]
    along = np.linalg.norm(points - place(camera), axis=1)
    assert np.median(np.abs(along - truth.depth)) < 1e-3
    assert np.quantile(np.abs(along - truth.depth), 0.97) < 0.02


def test_a_texture_is_looked_up_where_its_place_is_and_gradients_reach_it():
    texture = torch.zeros(3, 4, 8)
    texture[0, 1, 6] = 1
    texture.requires_grad_()
    found = look_up(texture, torch.tensor([[6.5 / 8, 1.5 / 4], [0.5 / 8, 0.5 / 4]]))
    assert torch.allclose(found[:, 0], torch.tensor([1.0, 0.0]), atol=1e-6)
    found.sum().backward()
    assert texture.grad is not None and texture.grad[0, 1, 6] == 1


def test_a_figure_is_seen_from_the_front_and_from_behind():
    body = load_body()
    vertices = body.vertices - [0, body.vertices[:, 1].min(), 0]
    uv = np.stack([np.where(vertices[:, 2] > 0.02, 0.25, 0.75), np.full(len(vertices), 0.5)], 1).astype(np.float32)
    texture = Image.new("RGB", (64, 8), "red")
    texture.paste("blue", (32, 0, 64, 8))
    figure = Figure((Layer("body", vertices.astype(np.float32), body.faces, uv),), texture)
    front, back = (render(figure, Camera(azimuth=angle), size=(96, 72)) for angle in (0.0, 180.0))
    assert np.mean(front.mask & back.mask[:, ::-1]) / np.mean(front.mask | back.mask[:, ::-1]) > 0.9
    assert np.median(front.image[front.mask][:, 0]) > 0.9 and np.median(back.image[back.mask][:, 2]) > 0.9
    assert (front.normals[front.layer >= 0][:, 2] > 0).mean() > 0.97
