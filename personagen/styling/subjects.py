"""Subjects in the main job: whom scenes show, which of the training pictures is dressed, whose subject it is."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from recsys.errors import ConfigError, DataError, ModelError, shown
from recsys.text import find_named, read_cells

from ..adapters.adapter import FILE as ADAPTER
from ..images import load_image
from ..person.body import Body
from ..person.joints import Joint, trunk_of
from ..person.parser import Parser
from ..person.parts import Part
from ..person.reading import read_person
from ..subject.config import SubjectConfig
from ..subject.data import scan
from ..subject.record import data_fingerprint, phrase, read_run
from ..subject.results import MODEL
from ..subject.tokens import FILE as TOKENS
from ..vocabulary import counted

SEEN = 0.3
"""Least probability of the joints, from nose to ankles, of a person who is whole."""
UPRIGHT = 0.35
"""How far a trunk may lean, as sine of its angle."""


@dataclass(frozen=True)
class Subject:
    """What a result folder of `personagen subject train` means to the main job.

    phrase: how a prompt names it; person: whether it is somebody, who agreed; base: the model it was trained on, which
    lies in the folder where it is `whole`; pictures: the folder it learnt from, with the fingerprint pictures_sha256;
    fingerprint: sha256 of its weights.
    """

    folder: Path
    phrase: str
    person: bool
    base: str
    whole: bool
    pictures: Path
    pictures_sha256: str
    resolution: int | None
    fingerprint: str

    def record(self) -> dict[str, str]:
        """Return what looks.json says of it: no path beyond the folder's own name."""
        return {"name": self.folder.name, "phrase": self.phrase, "sha256": self.fingerprint}


def read_subject(folder: str | Path) -> Subject:
    """Read a result folder of `personagen subject train`, and check that it may be shown.

    Raises:
        ConfigError: it is no such folder, or the person in it has not agreed.
        ModelError: its record is damaged, or its weights are missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"there is no subject in {folder}; name the result folder of `personagen subject train`")
    words, run = phrase(folder), read_run(folder)
    assert run is not None  # phrase has read it
    config = run.config
    if config.preset == "person" and not config.consent:
        raise ConfigError(f"{folder} does not say that this person agreed; train it again with consent: true")
    return Subject(
        folder=folder,
        phrase=words,
        person=config.preset == "person",
        base=config.pretrained_model_name_or_path,
        whole=config.train_unet == "full",
        pictures=Path(config.instance_data_dir),
        pictures_sha256=run.data_sha256,
        resolution=config.resolution,
        fingerprint=_fingerprint(folder, config),
    )


def _fingerprint(folder: Path, config: SubjectConfig) -> str:
    """Hash the weights of a result folder, file by file.

    Raises:
        ModelError: there are none.
    """
    files = [file for file in (folder / ADAPTER, folder / TOKENS) if file.is_file()]
    if config.train_unet == "full":
        files += sorted((folder / MODEL).rglob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder} holds no weights of a subject; copy the whole folder, or train the subject again")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def check_base(subject: Subject, text2image: str) -> None:
    """Refuse a subject of another family than the model of the scenes, as far as their names say.

    Raises:
        ModelError: the message names the model it was trained on.
    """
    if not subject.whole and (subject.base == "embedded") != (text2image == "embedded"):
        raise ModelError(f"{subject.folder} was trained on {subject.base}, not on {text2image}; give "
                         f"--text2image {subject.base}, or train it on {text2image}")  # fmt: skip


def standing_picture(subject: Subject, parser: Parser) -> tuple[Path | None, str]:
    """Choose the training picture to dress: the best standing whole person. Return it, or None, and a line about it.

    Pictures are looked at only of a person, who agreed, and only if they are those that were trained on.
    """
    name = subject.folder.name
    otherwise = "the try-on shows somebody else; --person FILE gives a photo"
    if not subject.person:
        return None, f"subject {name} is {subject.phrase}, not a person: {otherwise}"
    if not subject.pictures.is_dir():
        return None, f"the pictures of subject {name} are gone from {subject.pictures}: {otherwise}"
    pictures, _ = scan(subject.pictures, resolution=subject.resolution)
    if data_fingerprint(pictures) != subject.pictures_sha256:
        return None, f"{subject.pictures} holds other pictures than subject {name} was trained on: {otherwise}"
    best, chosen = 0.0, None
    for picture in pictures:
        try:
            score = standing(read_person(load_image(picture.path), parser).body)
        except DataError:
            continue
        if score > best:
            best, chosen = score, picture.path
    if chosen is None:
        return None, f"none of {counted(len(pictures), 'picture')} of subject {name} shows a whole person: {otherwise}"
    return chosen, f"{chosen.name} is dressed, the best of {counted(len(pictures), 'picture')} of subject {name}"


def standing(body: Body) -> float:
    """Say how well a photo shows one standing person from head to feet, seen from the front: 0 (not) to 1."""
    if body.joints is None or not (body.parts == Part.HEAD).any():
        return 0.0
    joints, height = body.joints, body.parts.shape[0]
    ends = [Joint.NOSE, *(joint for joint in Joint if joint.name.endswith(("SHOULDER", "HIP", "KNEE", "ANKLE")))]
    if joints[ends, 2].min() < SEEN or not ((joints[ends, 1] >= 0) & (joints[ends, 1] < height)).all():
        return 0.0
    rows = [float(joints[[at for at in ends if at.name.endswith(name)], 1].mean())
            for name in ("NOSE", "SHOULDER", "HIP", "KNEE", "ANKLE")]  # fmt: skip
    trunk = trunk_of(joints)
    if rows != sorted(rows) or abs(trunk.down[0]) > UPRIGHT or not body.wears("upper"):
        return 0.0
    across = abs(joints[Joint.LEFT_SHOULDER, 0] - joints[Joint.RIGHT_SHOULDER, 0])
    frontal = min(1.0, float(across) / trunk.across)
    return float(joints[ends, 2].mean()) * frontal * min(1.0, 2 * (rows[-1] - rows[0]) / height)


@dataclass(frozen=True)
class Mapped:
    """A line of a mapping: a user's subject and photo, either of which may be missing."""

    subject: Path | None = None
    person: Path | None = None


def read_mapping(file: str | Path) -> dict[str, Mapped]:
    """Read whose subject is whose: a CSV with the columns user, subject and, where wanted, person (a photo).

    Paths are looked for beside the file, then in the current folder.

    Raises:
        DataError: the message names file and line.
    """
    file = Path(file)
    if not file.is_file():
        raise DataError(f"there is no mapping {file}; give a CSV with the columns user and subject, and maybe person")
    columns, rows = read_cells(file)
    unknown = sorted(set(columns) - {"user", "subject", "person"})
    if not {"user", "subject"} <= set(columns) or unknown:
        there = shown(", ".join(columns), most=200) or "none"
        raise DataError(f"{file} has the columns {there}; allowed are user, subject and person")
    found: dict[str, Mapped] = {}
    for user, number, row in each_user(file, rows):
        found[user] = Mapped(*(_found(file, number, row.get(name, "")) for name in ("subject", "person")))
    return found


def each_user(file: Path, rows: Iterable[tuple[int, dict[str, str]]]) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Yield user, number and cells of the lines of a mapping, a user a line.

    Raises:
        DataError: a user is empty or there twice, or there is no line.
    """
    seen = set[str]()
    for number, row in rows:
        user = row["user"]
        if not user or user in seen:
            raise DataError(f"{file}, line {number}: user {shown(user)!r} is {'there twice' if user else 'empty'}; "
                            "give each user one line")  # fmt: skip
        seen.add(user)
        yield user, number, row
    if not seen:
        raise DataError(f"{file} has a header and no line below it; add one line for each user")


def _found(file: Path, number: int, name: str) -> Path | None:
    """Find what a line of the mapping names."""
    if not name:
        return None
    place = find_named(name, file.parent, Path())
    if place is None:
        raise DataError(
            f"{file}, line {number}: there is no {shown(name)}, neither beside the file nor in the current folder"
        )
    return place
