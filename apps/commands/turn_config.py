"""The settings of `personagen tryon turn`. Nothing heavy is imported here."""

from dataclasses import dataclass, field
from typing import Literal

from personagen.devices import ComputeSettings
from personagen.models.config import OwnWeights
from personagen.tryon.config import BaseConfig


@dataclass(frozen=True, kw_only=True)
class RefineConfig(OwnWeights):
    """What the photo does not show is painted anew by a text-to-image model."""

    prompt: str
    """What is painted, as in "photo of sks person in a red coat"; each view's side is said after it."""
    base: str | None = None
    """Text-to-image model: `embedded`, a folder, a .safetensors file or a hub id; none: that of the first subject."""
    subjects: list[str] = field(default_factory=list)
    """Result folders of `personagen subject train`, or LoRA files: the person, the garment, or both."""
    weights: list[float] = field(default_factory=list)
    """Strength of each subject, 1 where left out."""
    negative_prompt: str = ""
    """What shall not be painted."""
    strength: float = 0.45
    """How far back to noise, .05 to 1: low keeps what was guessed, high paints something else."""
    steps: int = 25
    """Denoising steps of a whole painting, of which strength takes its share."""
    guidance: float = 7.5
    """Strength of guidance, 1 and more."""
    controlnet: str | None = None
    """Folder of a ControlNet of the same family in diffusers' layout: it holds to the figure's shape."""
    control: Literal["depth", "normal"] = "depth"
    """What that ControlNet has learnt to be shown."""
    control_scale: float = 1.0
    """How strong it is."""
    geometry: bool = False
    """First paint normal maps, or distil them, and move what the photo does not show to them in depth, before colours
    are painted; not with the embedded model."""
    distil: int = 0
    """Steps of score distillation instead of painting; 150 is usual. It changes colours coarsely, nothing finer."""


@dataclass(frozen=True)
class TurnConfig(ComputeSettings):
    """Settings of `personagen tryon turn`."""

    person: str | None = None
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
    evaluate: int | None = None
    """Instead of a photo, so many people of the atelier, whose every view is known; --out is a .json then."""
    force: bool = False
    """Make a figure of a try-on that is not to be trusted, too."""
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
    refine: RefineConfig | None = None
    """Paint what the photo does not show anew, as in --refine.prompt "photo of sks person" --refine.subjects [runs/me];
    of use with Stable Diffusion and a subject, the embedded model makes it worse."""
    complete: bool = True
    """Let a network correct the light of what the photo does not show; not where --person_back is given."""
    completer: str = "embedded"
    """That network: `embedded`, or the folder `view` of the stage view."""
    view: BaseConfig | None = None
    """Instead of --completer, an inpainting base and what `tryon train` made of it on a corpus of views, as in
    --view.base FOLDER --view.lora FOLDER."""
    steps: int = 8
    """Denoising steps of the try-on, 1 to 1000."""
    guidance: float = 1.5
    """Strength of guidance, 1 and more; 1 is none."""
    scheduler: str | None = None
    """Sampler: ddim, dpmpp_2m, euler, euler_a, unipc or lcm; none: the model's own."""
    seed: int = 0
    """Seed of the try-on and of the painted place."""
