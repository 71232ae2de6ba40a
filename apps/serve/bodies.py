"""What requests say, as JSON; unknown names are refused. FastAPI makes the OpenAPI page of it."""

from typing import Annotated, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from recsys.errors import SEEDS

Name = Annotated[str | int, Field(description="an item or user as the data name it")]
Photo = Annotated[Base64Bytes, Field(description="a JPEG, PNG, WebP, AVIF or HEIC file in base64")]
Seed = Annotated[int, Field(ge=SEEDS[0], le=SEEDS[1])]
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="small letters, digits and -")]


class Body(BaseModel):
    """A body of a request."""

    model_config = ConfigDict(extra="forbid")


class RankBody(Body):
    """Whose next items: a history of item names, latest last, or a user whom the server's interactions know."""

    history: list[Name] | None = Field(None, max_length=2000)
    user: Name | None = None
    k: int = Field(10, ge=1, le=1000)
    exclude_seen: bool = True


class LooksBody(Body):
    """Looks of a user, or of a history; the same order gives the same pictures."""

    user: Name | None = None
    history: list[Name] | None = Field(None, max_length=2000)
    looks: int = Field(1, ge=0, le=32)
    scenes: int = Field(1, ge=0, le=32)
    seed: Seed = 0
    subject: Label | None = None
    photo: Photo | None = None


class TryOnBody(Body):
    """A garment for a person, a photo each; what would not be believed fails with a reason, unless it is forced."""

    person: Photo
    garment: Photo
    kind: str = Field("upper", max_length=20)
    steps: int = Field(8, ge=1, le=1000)
    guidance: float = Field(1.5, ge=1, le=30)
    seed: Seed = 0
    force: bool = False


class SubjectBody(Body):
    """A subject to be learnt from photos; of a person only with their consent."""

    label: Label
    name: str = Field(min_length=1, max_length=60, description="what it is: backpack, person, jacket")
    photos: list[Photo] = Field(min_length=1, max_length=40)
    preset: Literal["object", "person", "style", "garment"] = "object"
    consent: bool = False
    steps: int | None = Field(None, ge=1, le=10_000)
    seed: Seed = 0


class Ranked(BaseModel):
    """Items, best first, and their scores; fewer where fewer are left."""

    items: list[str]
    scores: list[float]
    unknown: int = Field(description="items of the history that the recommender does not know; it goes without")


class JobState(BaseModel):
    """How far a job is; `files` lie under /jobs/{id}/files/."""

    id: str
    kind: str
    state: Literal["waiting", "running", "done", "failed", "stopped"]
    files: list[str]
    events: list[dict]
    error: str | None


class SubjectEntry(BaseModel):
    """A subject that looks can show, and the words that call it in a prompt."""

    label: str
    phrase: str


class Failed(BaseModel):
    """What went wrong, in one sentence."""

    error: str
