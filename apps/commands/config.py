"""The settings of each command. A field is a flag and a key of its YAML file; unknown ones are refused.

Nothing heavy is imported here, so that `--help` answers at once.
"""

from dataclasses import dataclass, field
from typing import Any

from personagen.devices import ComputeSettings, DeviceSettings
from personagen.models.config import OwnWeights
from personagen.styling.config import StyleConfig as Finer
from personagen.tryon.config import BaseConfig
from recsys.data.columns import Columns


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """Settings of every command that reads a file of interactions."""

    columns: Columns = Columns()
    """Columns of the file, where their names are unusual, as in --columns.user buyer; a number counts from 1."""
    min_rating: float | None = None
    """Leave out rows of the file that are rated lower; none: all rows count."""


@dataclass(frozen=True, kw_only=True)
class ShopSettings(OwnWeights, ComputeSettings, FileSettings):
    """Settings of the main job's users, items and models, for `style` and the page alike."""

    interactions: str | None = None
    """File of who chose what and when (CSV, Parquet, JSON lines, ...); none: the atelier's simulated users."""
    catalog: str | None = None
    """Folder with a picture for every item and one CSV that describes them; none: the atelier's garments."""
    person: str | None = None
    """Photo of the user (JPEG, PNG, WebP, AVIF or HEIC); none: a person rendered by the atelier."""
    mask: str | None = None
    """Picture of the photo's size, white where it may be repainted; none: found by the parser."""
    box: str | list[int] | None = None
    """Whom to dress where the photo shows several: left,top,right,bottom in pixels; none: the largest person."""
    mask_region: str = "upper"
    """What the mask uncovers: upper, lower or dress; garments of the other regions are passed over."""
    subjects: str | None = None
    """CSV with the columns user, subject (a result folder) and, where wanted, person (a photo): whose is whose."""
    recommender: str | None = None
    """Folder written by `personagen recommend train`; none: the embedded one, or one trained on the spot when small."""
    text2image: str = "embedded"
    """Model of the scenes: `embedded`, a Stable Diffusion folder, a single .safetensors file, or a hub id."""
    tryon: str = "embedded"
    """Model of the try-on looks: `embedded`, or a folder in diffusers' layout."""
    base: BaseConfig | None = None
    """Instead of --tryon, an inpainting base and what lies over it, as in --base.base FOLDER --base.attention FILE."""


@dataclass(frozen=True)
class StyleConfig(ShopSettings):
    """Settings of `personagen style`."""

    out: str = "looks"
    """Folder for the looks, looks.json and sheet.png; of several users, a folder each below it."""
    user: str | int | None = None
    """User to work for: a number in the atelier (0 and up), or an id of --interactions."""
    users: str | list[str | int] | None = None
    """Several users instead, as in --users anna,ben, or a file with one a line; none with --subjects: all of that."""
    subject: str | None = None
    """Result folder of `personagen subject train`: scenes show it, and of a person a picture is dressed."""
    looks: int = 4
    """Number of try-on looks, 0 to 32."""
    scenes: int = 2
    """Number of scenes painted from a prompt, 0 to 32."""
    steps: int | None = None
    """Denoising steps of each scene, 1 to 1000; none: stylist.scene_steps. Try-on takes stylist.tryon_steps."""
    stylist: Finer = Finer()
    """Finer settings of the stylist, as in --stylist.diversity 0.5 or --stylist.tryon_guidance 3."""
    seed: int = 0
    """Seed of recommender and pictures: the same seed gives the same files."""
    metadata: bool = True
    """Write the prompt and settings into each PNG; false leaves them out."""
    turn: bool = False
    """Also write each try-on look as a figure that can be turned, .glb beside its picture."""

    engine: str | None = None
    """For many users: local (this process) or ray (workers, here or in a cluster); `out` then gets Parquet of looks and
    pictures by their hash, may be s3://... or gs://..., and a run that was stopped goes on. --users all: everyone."""
    workers: int = 1
    """With --engine ray: processes that paint, a model each."""
    planners: int = 1
    """With --engine ray: processes that rank and plan."""
    worker_cpus: float = 0.5
    """Share of a processor that Ray counts for each worker; they compute on one thread."""
    worker_gpus: float = 0.0
    """Share of a GPU for each worker, as 0.25 for four on one."""
    ray_address: str | None = None
    """A Ray cluster that is there, as auto or ray://HOST:PORT; none: one on this machine, for this command."""
    restart: bool = False
    """Start over where a run of other settings lies in `out`."""


@dataclass(frozen=True)
class TrainConfig(FileSettings):
    """Settings of `personagen recommend train`."""

    model: str = "countdiff"
    """A name in recsys/models/__init__.py: popularity, markov, ease, sasrec, dreamrec, countdiff, ..."""
    data: str = "atelier"
    """Name of a data set (atelier, ml-100k, amazon-beauty, ...), or a file of interactions (CSV, Parquet, ...)."""
    root: str | None = None
    """Folder that holds the named data sets; none: that of the variable PERSONAGEN_DATA, or the current one."""
    catalog: str | None = None
    """Folder that describes the items of a file; its words become features of the items."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The model's own settings by name, as in --settings.dim 64; the others keep their defaults."""
    train: dict[str, Any] = field(default_factory=dict)
    """Settings of the training loop, as in --train.epochs 20; batch_size, learning_rate, epochs, patience and
    validate_cases follow the size of the data where they are left out."""
    search: int = 0
    """Number of settings to try on validation, of which the best is kept; 0 trains once. Needs pip install
    'personagen[search]'."""
    search_budget: float | None = None
    """CPU-minutes after which the search begins no other trial and cuts off the one that runs; none: no limit."""
    out: str = "runs/recommender"
    """Folder for the recommender and the names of its items; checkpoints go below it, and a second run resumes."""
    seed: int = 0
    """Seed of initialisation, order and noise."""


@dataclass(frozen=True)
class UpdateConfig(FileSettings):
    """Settings of `personagen recommend update`."""

    data: str
    """File of the new interactions; with --since also of those before."""
    recommender: str = "runs/recommender"
    """Folder written by `personagen recommend train` or `update`; it stays as it is."""
    before: str | None = None
    """File of the earlier interactions of the same users, such as the one trained on; none: all users are new."""
    since: str | None = None
    """Instead of --before: rows of --data from this time on are new, as 2026-11-30, 2026-11-30T08:00Z or a number."""
    catalog: str | None = None
    """Folder that describes the items, if the recommender was trained with one; new items must be in it."""
    train: dict[str, Any] = field(default_factory=dict)
    """Settings of the training loop, as in --train.epochs 5; the others follow those it was trained with."""
    out: str = "runs/updated"
    """Folder for the updated recommender; checkpoints go below it, and a second run resumes."""
    seed: int = 0
    """Seed of order and noise."""


@dataclass(frozen=True)
class RankConfig(DeviceSettings, FileSettings):
    """Settings of `personagen recommend rank`."""

    recommender: str = "runs/recommender"
    """Folder written by `personagen recommend train`."""
    data: str = "atelier"
    """Name of a data set, or a file of interactions (CSV, Parquet, JSON lines, ...)."""
    root: str | None = None
    """Folder that holds the named data sets; none: that of the variable PERSONAGEN_DATA, or the current one."""
    users: list[str | int] | str | int | None = None
    """Users to rank for: a list, or a file with one a line; none: everyone, or the first ten without `out`."""
    k: int = 10
    """Number of items for each user."""
    out: str | None = None
    """File for user, rank, item and score, ending in .parquet, .csv or .jsonl, here or at s3:// or gs://; none: printed
    as CSV. A run that is stopped goes on where it was."""
    part: int = 4096
    """Number of users after which their lists are saved: a killed run loses no more. Lists do not depend on it."""
    restart: bool = False
    """Start over where an unfinished run of other settings, model or data lies beside `out`."""
    exact: bool = False
    """Score every item, even where the recommender has an index."""
    seed: int = 0
    """Seed of the draws."""


@dataclass(frozen=True)
class IndexConfig:
    """Settings of `personagen recommend index`."""

    recommender: str = "runs/recommender"
    """Folder written by `personagen recommend train`; the index is written into it."""


@dataclass(frozen=True)
class EvaluateConfig(DeviceSettings, FileSettings):
    """Settings of `personagen recommend evaluate`."""

    recommender: str = "runs/recommender"
    """Folder written by `personagen recommend train`."""
    data: str = "atelier"
    """Name of a data set, or a file of interactions (CSV, Parquet, JSON lines, ...)."""
    root: str | None = None
    """Folder that holds the named data sets; none: that of the variable PERSONAGEN_DATA, or the current one."""
    part: str = "test"
    """valid or test."""
    cutoffs: list[int] | None = None
    """Cut-offs of HR, NDCG and MRR; none: 5, 10 and 20, those that do not go beyond the catalogue."""
    exact: bool = False
    """Score every item, even where a recommender has an index."""
    out: str | None = None
    """JSON file for the figures; none: printed."""
    seed: int = 0
    """Seed of the draws and the bootstrap."""


@dataclass(frozen=True)
class CompareConfig(DeviceSettings, FileSettings):
    """Settings of `personagen recommend compare`."""

    first: str
    """Folder written by `personagen recommend train`."""
    second: str
    """The one it is compared with."""
    data: str = "atelier"
    """Name of a data set, or a file of interactions (CSV, Parquet, JSON lines, ...)."""
    root: str | None = None
    """Folder that holds the named data sets; none: that of the variable PERSONAGEN_DATA, or the current one."""
    part: str = "test"
    """valid or test."""
    cutoffs: list[int] | None = None
    """Cut-offs of HR, NDCG and MRR; none: 10 and 20, those that do not go beyond the catalogue."""
    exact: bool = False
    """Score every item, even where a recommender has an index."""
    out: str | None = None
    """JSON file for the figures; none: only printed."""
    seed: int = 0
    """Seed of the draws and the bootstrap."""


@dataclass(frozen=True)
class MaskConfig(ComputeSettings):
    """Settings of `personagen tryon mask`."""

    person: str
    """Photo of the person (JPEG, PNG, WebP, AVIF or HEIC)."""
    kind: str = "upper"
    """What is to be put on: upper, lower, dress, outer, or a kind such as t-shirt or trousers."""
    out: str = "mask.png"
    """PNG to write, of the photo's size, white where it may be repainted; paint on it as you like."""
    box: str | list[int] | None = None
    """Whom it is for where the photo shows several: left,top,right,bottom in pixels; none: the largest person."""
    parser: str = "embedded"
    """Parser of body parts: `embedded`, a folder of the parser stage, or of a SegFormer for clothes."""
    mask_expand: float = 1.0
    """How far the mask goes beyond the old garment, 0 to 4."""


@dataclass(frozen=True)
class WearConfig(ComputeSettings):
    """Settings of `personagen tryon wear`."""

    person: str
    """Photo of the person (JPEG, PNG, WebP, AVIF or HEIC)."""
    garment: str | None = None
    """Photo of the garment, best alone on a plain background; somebody may wear it."""
    outfit: dict[str, str] = field(default_factory=dict)
    """Several garments instead, kind to photo, as in --outfit '{"upper": "top.jpg", "lower": "skirt.jpg"}'."""
    mask: str | None = None
    """Picture of the person photo's size, white where it may be repainted; none: found by the parser."""
    masks: dict[str, str] = field(default_factory=dict)
    """The same for an outfit, by kind, as in --masks '{"upper": "top-mask.png"}'; kinds left out are found."""
    box: str | list[int] | None = None
    """Whom to dress where the photo shows several: left,top,right,bottom in pixels; none: the largest person."""
    kind: str = "upper"
    """What the garment is: upper, lower, dress, outer, or t-shirt, shirt, sweater, jacket, skirt, trousers, shorts;
    auto: found in its photo, and said."""
    parser: str = "embedded"
    """Parser of body parts: `embedded`, a folder of the parser stage, or of a SegFormer for clothes."""
    mask_expand: float = 1.0
    """How far a mask that is found goes beyond the old garment, 0 to 4."""
    cut_out: bool = True
    """Cut garments out of their photos first, where that can be trusted."""
    force: bool = False
    """Write the result even where it is not to be trusted."""
    out: str = "worn.png"
    """PNG to write."""
    model: str = "embedded"
    """Try-on model: `embedded`, or a folder in diffusers' layout."""
    base: BaseConfig | None = None
    """Instead of --model, an inpainting base and what lies over it, as in --base.base FOLDER --base.attention FILE."""
    fast: bool = False
    """Leave work out that changes the picture little."""
    zoom: bool = False
    """Work on the surroundings of the mask, where the person is small in the photo."""
    composed: bool | None = None
    """Lay the garment's own pixels along the person's joints and let the model add light and shade; null: as suits the
    model (embedded: yes)."""
    steps: int = 8
    """Denoising steps, 1 to 1000."""
    guidance: float = 1.5
    """Strength of guidance, 1 and more; 1 is none."""
    scheduler: str | None = None
    """Sampler: ddim, dpmpp_2m, euler, euler_a, unipc or lcm; none: the model's own."""
    seed: int = 0
    """Seed of the noise."""


@dataclass(frozen=True)
class DemoConfig(ShopSettings):
    """Settings of `personagen demo`."""

    more_text2image: dict[str, str] = field(default_factory=dict)
    """Further base models to choose from in Generate and Teach, name to model, as in --more_text2image '{"Photos":
    "models/sd15"}'. Visitors read the name alone; --text2image and the embedded one are there anyway."""
    host: str = "127.0.0.1"
    """Address to listen on; any but the loopback needs --auth."""
    port: int = 7860
    """Port to listen on, 0 for any free one."""
    auth: str | None = None
    """NAME:PASSWORD that visitors must give."""
    open: bool = False
    """Open the page in the default browser."""
    api: bool = False
    """Let programs ask for looks, pictures, try-ons and subjects, with a key; without it nothing but the page is
    there."""
    api_key: str | None = None
    """The key that they send as `Authorization: Bearer KEY`; none: that of the variable PERSONAGEN_KEY, which other
    users of this machine cannot read."""


@dataclass(frozen=True)
class ServeConfig(ShopSettings):
    """Settings of `personagen serve`."""

    host: str = "127.0.0.1"
    """Address to listen on; any but the loopback needs a key."""
    port: int = 7870
    """Port to listen on, 0 for any free one."""
    key_file: str | None = None
    """File with the key that requests carry as `Authorization: Bearer KEY`; none: that of the variable PERSONAGEN_KEY,
    else none is asked for."""
    out: str = "runs/serve"
    """Folder for jobs and the subjects learnt; what was not finished goes on at the next start."""
    stylist: Finer = Finer()
    """Finer settings of the stylist, as in --stylist.scene_steps 12."""
    exact: bool = False
    """Score every item, even where the recommender has an index."""
    engine: str = "local"
    """local: rank in this process; ray: by replicas of Ray Serve (pip install 'personagen[scale]')."""
    replicas: int = 2
    """Replicas that rank, with the engine ray; each holds the recommender and uses one processor."""
    ray_address: str | None = None
    """Address of a Ray cluster that is there already; none: one on this machine for this server."""
    most_jobs: int = 32
    """Jobs that may wait; more are refused with 503."""
    keep_hours: float = 24.0
    """Hours after which a finished job and its pictures are removed."""
    max_body_mb: float = 16.0
    """Megabytes of a request at most; photos are sent in base64, which is a third longer."""
    grace: float = 300.0
    """Seconds that a job has to end after SIGTERM; then it stops and begins anew at the next start."""


@dataclass(frozen=True)
class ForgetConfig(FileSettings):
    """Settings of `personagen forget`."""

    user: str | int = ""
    """Whom to forget; the bare word after the command."""
    looks: list[str] = field(default_factory=lambda: ["looks"])
    """Folders of `style`, of one user or of several."""
    subjects: str | None = None
    """CSV that says whose subject and photo is whose; the user's line goes."""
    interactions: str | None = None
    """File of who chose what; the user's rows are counted and named, not changed."""
    confirm: bool = False
    """Remove it; without it, it is only listed."""


@dataclass(frozen=True)
class DoctorConfig:
    """Settings of `personagen doctor`."""

    json: bool = False
    """Print JSON instead of lines for people."""
