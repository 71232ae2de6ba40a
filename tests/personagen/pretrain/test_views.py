"""Pairs of views: what a figure shows of a side, where the photo does not, beside the truth within its outline."""

from pathlib import Path

import numpy as np
import pytest

from personagen.atelier.corpus import HELDOUT_SEED, random_sitting
from personagen.atelier.render import Render
from personagen.corpora.corpus import open_corpus
from personagen.figure.turned import AZIMUTHS
from personagen.figure.turntable import PAPER
from personagen.person.parser import load_parser
from personagen.pretrain import CorpusConfig, PretrainConfig, pretrain, views
from personagen.pretrain.views import view_rows, within
from personagen.training.config import LoopConfig

SIZE = (64, 48)


def test_a_true_side_is_moved_onto_the_outline_and_its_colours_run_over_it():
    image, labels = np.full((40, 30, 3), 255, np.uint8), np.zeros((40, 30), np.uint8)
    image[5:35, 4:12], labels[5:35, 4:12] = (200, 40, 40), 1
    mask = np.zeros((40, 30), bool)
    mask[3:33, 14:26] = True  # wider than the person, and elsewhere
    found = within(Render(image, labels, np.zeros((40, 30)), np.zeros((40, 30, 3))), mask)
    assert (np.abs(found[mask].astype(int) - (200, 40, 40)) <= 2).all()


def test_people_of_views_are_never_those_that_figures_are_measured_on():
    assert views.FIRST_SEED < views.HELDOUT_SEED < HELDOUT_SEED


@pytest.mark.slow
def test_a_sitting_gives_its_sides_beside_the_truth():
    found = list(view_rows(random_sitting(views.FIRST_SEED), size=SIZE, read=load_parser()))
    assert [words["azimuth"] for _, words in found] == [str(azimuth) for azimuth in AZIMUTHS]
    for pictures, _ in found:
        assert {"image", "garment", "mask", "guess"} == set(pictures)
        hidden = pictures["mask"]
        assert hidden.dtype == bool and 0.02 < hidden.mean() < 0.4
        outside = (pictures["guess"] == np.array(PAPER)).all(2)
        assert (pictures["image"][outside] == PAPER).all()
        assert np.abs(pictures["image"][hidden].astype(int) - pictures["guess"][hidden]).mean() < 60
    assert (found[0][0]["mask"] | (found[0][0]["guess"] == PAPER).all(2)).mean() > 0.97  # all of a back is hidden


@pytest.mark.slow
def test_a_corpus_of_views_is_one_and_goes_on(tmp_path, monkeypatch):
    def rows(sitting, *, size, read):
        if sitting.seed % 3:
            for azimuth in (180, 90):
                plain = np.full((*size, 3), sitting.seed % 251, np.uint8)
                yield (
                    {"image": plain, "garment": plain, "guess": plain, "mask": plain[..., 0] > 0},
                    {"azimuth": azimuth},
                )

    monkeypatch.setattr(views, "view_rows", rows)
    settings = CorpusConfig(rows=0, heldout_rows=0, views=20)
    config = lambda folder: PretrainConfig(
        stage="corpus", output_dir=str(tmp_path / folder), height=SIZE[0], width=SIZE[1], corpus=settings,
        loop=LoopConfig(seed=3),
    )  # fmt: skip
    list(pretrain(config("whole")))
    cut = pretrain(config("cut"))
    for _ in range(3):
        next(cut)
    cut.close()  # type: ignore[attr-defined]
    list(pretrain(config("cut")))
    corpus = open_corpus(tmp_path / "whole" / "views", size=SIZE)
    seeds = [row["seed"] for row in corpus.meta]
    assert seeds[0] >= views.HELDOUT_SEED and min(seeds[1:]) >= views.FIRST_SEED + 3 and len(corpus.rows["train"]) == 20
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.npy")]
    assert len(files) == 4 and not (tmp_path / "whole" / "atelier").exists()
    assert all(same(tmp_path, file) for file in [*files, Path("views/meta.jsonl")])


def same(folder: Path, file: Path) -> bool:
    return (folder / "whole" / file).read_bytes() == (folder / "cut" / file).read_bytes()
