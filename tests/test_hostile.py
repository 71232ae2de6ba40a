"""Whatever lies in a file, its readers take it or give one of our own errors, in a line that can be printed."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cases import cases
from tests.corpus.hostile import KINDS, hostile
from tests.corpus.readers import OURS, READERS

FAULTS = Path(__file__).parents[2] / "shared" / "data" / "faults"
SEEDS = {"adapter": ".safetensors", "caption": ".txt", "config": ".yaml", "interactions": ".csv", "picture": ".png"}
"""Kinds of input of which the folder of faults holds more, by their ending."""
TOKENS = [b"", b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b",", b":", b"\n", b"{", b"[", b"]", b"}", b"*",
          b"&", b"null", b"NaN", b"-1", b"1e309", b"9" * 25, b"../", b"\\", b"x" * 5_000, b"\x1b[2J"]  # fmt: skip
SLOW = ("adapter", "config", "model/unet/config.json", "parser/model.safetensors", "embedding", "single file")


def test_every_kind_has_a_reader():
    assert set(READERS) == set(KINDS)


def read(kind: str, file: Path, folder: Path) -> list[str]:
    """Call the readers of a kind on a file; return what went otherwise than it should."""
    folder.mkdir(parents=True, exist_ok=True)
    wrong = []
    for reader in READERS[kind]:
        place = folder / file.name
        shutil.copy(file, place)
        found: list[str] = []
        try:
            reader(place)
        except OURS as error:
            found = complaints(str(error).replace(str(folder), ""))
        except Exception as error:
            found = [f"{type(error).__name__}: {str(error)[:200]}"]
        wrong += [f"{kind} {file.name} ({reader.__name__}): {text}" for text in found]
        place.unlink(missing_ok=True)
    return wrong


def complaints(message: str) -> list[str]:
    """What is wrong with a message."""
    wrong = [] if 0 < len(message) < 1500 else [f"a message of {len(message)} letters: {message[:80]} …"]
    odd = any(not letter.isprintable() and letter not in "\n\t" for letter in message)
    return wrong + ([f"a message that cannot be printed: {message!r}"[:300]] if odd else [])


@pytest.mark.parametrize(
    ("kind", "every"), cases([(kind, 9) for kind in KINDS], [(kind, 3 if kind in SLOW else 1) for kind in KINDS])
)
def test_only_our_own_errors_come_out_of_hostile_files(kind, every, tmp_path):
    wrong = []
    for number, one in enumerate(hostile(kind)[::every]):
        wrong += read(kind, one.path, tmp_path / str(number))
    assert not wrong, "\n".join(wrong)


@st.composite
def damaged(draw, seeds: list[Path]) -> tuple[str, bytes]:
    """A name and a file in which some bytes are cut out, put twice, or replaced."""
    seed = draw(st.sampled_from(seeds))
    data = seed.read_bytes()
    for _ in range(draw(st.integers(1, 3))):
        low = draw(st.integers(0, len(data)))
        high = min(len(data), low + draw(st.sampled_from([0, 1, 2, 8, 64, 10**6])))
        new = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6)))
        data = data[:low] + draw(st.sampled_from([new, data[low:high] * 2, b""])) + data[high:]
    return seed.name, data


@pytest.mark.parametrize(
    ("kind", "examples"),
    cases([(kind, 12) for kind in KINDS if kind not in SLOW], [(kind, 12 if kind in SLOW else 80) for kind in KINDS]),
)
def test_only_our_own_errors_come_out_of_damaged_files(kind, examples, tmp_path):
    more = sorted(FAULTS.glob(f"*{SEEDS[kind]}")) if kind in SEEDS else []
    seeds = [one.path for one in hostile(kind) if one.path.stat().st_size < 20_000] + more

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(damaged(seeds))
    def check(case):
        name, data = case
        file = tmp_path / "given" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        shutil.rmtree(tmp_path / "read", ignore_errors=True)
        wrong = read(kind, file, tmp_path / "read")
        assert not wrong, "\n".join(wrong)

    check()
