"""The settings of `personagen tryon turn`. Nothing heavy is imported here."""

from dataclasses import dataclass, field

from personagen.devices import ComputeSettings
from personagen.tryon.config import BaseConfig


@dataclass(frozen=True)
class TurnConfig(ComputeSettings):
    """Settings of `personagen tryon turn`."""

    person: str
    """Photo of the person from the front, standing, whole."""
    person_back: str | None = None
    """Photo of the same person from behind, in what the figure wears; none: the back is guessed from the front."""
    garment: str | None = None
    """Photo of the garment; none, and no outfit: the person as they are."""
    outfit: dict[str, str] = field(default_factory=dict)
    """Several garments instead, kind to photo, as in --outfit '{"upper": "top.jpg", "lower": "skirt.jpg"}'."""
    kind: str = "upper"
    """What the garment is: upper, lower, dress, outer, or t-shirt, shirt, sweater, jacket, skirt, trousers, shorts;
    auto: found in its photo, and said."""
    prompt: str = ""
    """Pose, place, view and light in words, as in "walking in the park"; what is not understood is said."""
    out: str = "figure.glb"
    """File to write; beside it a sheet of eight views (.png)."""
    pose: str | None = None
    """Pose instead of the prompt's: photo, standing, arms out, arms raised, hands on hips, waving or walking."""
    scene: str | None = None
    """Place instead of the prompt's: studio, street, beach, park, snow or night city."""
    turntable: str | None = None
    """Also write an animation of one turn to this file, .webp or .gif."""
    obj: bool = False
    """Also write an .obj with its material and texture, in one .zip."""
    maps: bool = False
    """Also write depth and normals of eight views, into a folder."""
    box: str | list[int] | None = None
    """Who is meant where the photo shows several: left,top,right,bottom in pixels; none: the largest person."""
    height: float = 1.7
    """Height of the person in metres, 1 to 2.3."""
    build: float = 0.5
    """Shape of the body behind the picture, from 0, a woman's, to 1, a man's."""
    weight: float = 0.0
    """From -1, thin, to 1, heavy: how deep the body is that the picture shows flat."""
    fine: bool = False
    """Voxels of 3.5 instead of 7 mm: finer, four times as large, slower."""
    unlit: bool = False
    """Let viewers show the colours as they are, without a lamp of their own."""
    parser: str = "embedded"
    """Parser of body parts: `embedded`, a folder of the parser stage, or of a SegFormer for clothes."""
    model: str = "embedded"
    """Try-on model: `embedded`, or a folder in diffusers' layout."""
    base: BaseConfig | None = None
    """Instead of --model, an inpainting base and what lies over it, as in --base.base FOLDER --base.attention FILE."""
    steps: int = 8
    """Denoising steps of the try-on, 1 to 1000."""
    guidance: float = 1.5
    """Strength of guidance, 1 and more; 1 is none."""
    scheduler: str | None = None
    """Sampler: ddim, dpmpp_2m, euler, euler_a, unipc or lcm; none: the model's own."""
    seed: int = 0
    """Seed of the try-on and of the painted place."""
