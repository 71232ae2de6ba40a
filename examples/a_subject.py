"""Teach the embedded model a subject from a few pictures, and paint it.

    python examples/a_subject.py [FOLDER]

The subject is a striped shirt that the atelier renders, in place of your photos; put your own into FOLDER/photos and
leave `take_photos` out. A real subject takes 150 to 400 steps (one to two minutes of a core); here it is a few.
"""

import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import render_garment
from personagen.subject import SubjectConfig, train_subject
from personagen.subject.loaded import load_subjects

PROMPT = "a product photo of a sks shirt"


def take_photos(folder: Path) -> None:
    """Render the shirt with three lengths of sleeve, as photos would differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, sleeve in enumerate((0.3, 0.4, 0.5)):
        shirt = GarmentSpec("shirt", "teal", "striped", accent="yellow", sleeve=sleeve)
        Image.fromarray(render_garment(shirt)).save(folder / f"{number}.png")


def main(folder: Path, *, steps: int = 4) -> Path:
    """Train for `steps` in `folder`/result, paint `folder`/painted.png, and return its path."""
    take_photos(folder / "photos")
    config = SubjectConfig(
        instance_data_dir=str(folder / "photos"),
        name="shirt",
        preset="garment",
        output_dir=str(folder / "result"),
        max_train_steps=steps,
        num_validation_images=1,
        validation_inference_steps=4,
    )
    for step in train_subject(config):  # stop when you like; resume_from_checkpoint="latest" goes on
        if "loss" in step.losses:
            print(f"step {step.step}: loss {step.losses['loss']:.4f}")
        if step.metrics and "reload" in step.metrics:
            print(f"the saved file paints what was trained: largest difference {step.metrics['reload']:g}")
    pipe = load_subjects([folder / "result"])
    image = pipe(PROMPT, num_inference_steps=8, generator=torch.Generator().manual_seed(0)).images[0]
    image.save(folder / "painted.png")
    print(f"{PROMPT}: {folder / 'painted.png'}")
    return folder / "painted.png"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="personagen-")))
