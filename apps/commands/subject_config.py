"""The settings of `personagen subject generate|export|doctor|evaluate`; those of training are `SubjectConfig`."""

from dataclasses import dataclass, field
from typing import Literal

from personagen.devices import ComputeSettings
from personagen.models.config import OwnWeights
from personagen.subject.config import SubjectConfig


@dataclass(frozen=True)
class TrainManyConfig:
    """Settings of `personagen subject train-many`."""

    mapping: str
    """CSV with the columns user, pictures (a folder) and name, and where wanted preset and consent (true)."""
    out: str = "runs/subjects"
    """Folder for a result folder a user and subjects.parquet; the same command goes on where it was."""
    subject: SubjectConfig = SubjectConfig(instance_data_dir="-", name="subject")
    """What all have in common, as in --subject.max_train_steps 400; the mapping fills in the rest."""
    engine: str = "local"
    """local (one after the other) or ray (a task each, here or in a cluster)."""
    workers: int = 1
    """With --engine ray: subjects at a time."""
    worker_cpus: float = 1.0
    """Processors that Ray counts for each."""
    worker_gpus: float = 0.0
    """Share of a GPU for each."""
    tries: int = 3
    """How often a task is tried whose worker dies."""
    ray_address: str | None = None
    """A Ray cluster that is there, as auto or ray://HOST:PORT; none: one on this machine, for this command."""


@dataclass(frozen=True)
class GenerateConfig(OwnWeights, ComputeSettings):
    """Settings of `personagen subject generate`."""

    prompt: str
    """What to paint, with the word that stands for the subject, such as sks."""
    subjects: list[str] = field(default_factory=list)
    """Result folders of training, or adapter files (diffusers or kohya); several are stacked."""
    weights: list[float] = field(default_factory=list)
    """Strength of each, 1 where left out."""
    base: str | None = None
    """Base model, a folder, a single .safetensors file or a hub id; none: the one that the first result folder was
    trained on, or the embedded one."""
    out: str = "subject"
    """Folder for the PNG files."""
    count: int = 4
    """Number of pictures, 1 to 64."""
    steps: int = 20
    """Denoising steps, 1 to 1000."""
    guidance: float = 5.0
    """Strength of guidance, 1 and more; 1 is none."""
    negative_prompt: str = ""
    """What to stay away from."""
    height: int | None = None
    """Height in pixels; none: the base model's own."""
    width: int | None = None
    """Width in pixels; none: the base model's own."""
    seed: int = 0
    """Seed of the first picture; the next ones count on."""


@dataclass(frozen=True)
class ExportConfig(OwnWeights):
    """Settings of `personagen subject export`."""

    subjects: list[str]
    """Adapter files or result folders; several are merged, as the weights say."""
    to: Literal["kohya", "diffusers", "pipeline"] = "kohya"
    """One file for the web UIs, one for diffusers, or a whole pipeline with the adapter added into its weights."""
    out: str = "exported.safetensors"
    """File to write; for a pipeline a folder."""
    weights: list[float] = field(default_factory=list)
    """Weight of each adapter, 1 where left out."""
    base: str | None = None
    """Base model, which kohya files and pipelines need; none: the one of the first result folder."""


@dataclass(frozen=True)
class SubjectDoctorConfig:
    """Settings of `personagen subject doctor`."""

    instance_data_dir: str
    """Folder to look at."""
    resolution: int = 512
    """Side in pixels of the training pictures; what is far smaller is named too small."""
    json: bool = False
    """Print JSON instead of lines for people."""


@dataclass(frozen=True)
class SubjectEvaluateConfig(OwnWeights, ComputeSettings):
    """Settings of `personagen subject evaluate`."""

    subject: str
    """Result folder of training."""
    pictures: str
    """Folder with pictures of the subject, best ones it was not trained on."""
    others: list[str] = field(default_factory=list)
    """Folders with pictures of other subjects, among which it has to be recognised."""
    prompts: list[str] = field(default_factory=list)
    """Prompts to paint; none: the one it was trained on."""
    count: int = 4
    """Pictures a prompt, 1 to 64."""
    steps: int = 20
    """Denoising steps, 1 to 1000."""
    guidance: float = 5.0
    """Strength of guidance, 1 and more."""
    seed: int = 0
    """Seed of the pictures."""
    out: str | None = None
    """JSON file for the figures; none: printed."""
