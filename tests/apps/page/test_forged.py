"""What no browser sends: forged values, paths of the server, other visitors' files, and files that are no pictures.

Each is told a sentence, nothing of it names a place of the server, and the tab works afterwards.
"""

import io
import json
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.place import ROOT

sys.path.append(str(ROOT / "benchmarks"))
visitor = pytest.importorskip("visitor", reason="the benchmarks are not here")

LONG = "x" * 100_000
SERVER = {"path": str(ROOT / "pyproject.toml"), "meta": {"_type": "gradio.FileData"}}
PASSWD = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
PLACES = re.compile(r"/(work|tmp|home|root|usr|etc|var|opt|proc)/|site-packages|Traceback|\.py\b|visit-[0-9a-f]{8}")
"""What no text may hold."""
FORGED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no words": ("generate-go", "generate-state", {"generate_prompt": None}),
    "endless words against": ("generate-go", "generate-state", {"generate_prompt": "a", "generate_negative": LONG}),
    "endless words": ("generate-go", "generate-state", {"generate_prompt": LONG}),
    "steps that are words": ("generate-go", "generate-state", {"generate_prompt": "a", "generate_steps": "many"}),
    "too many steps": ("generate-go", "generate-state", {"generate_prompt": "a", "generate_steps": 10**9}),
    "a million pictures": ("generate-go", "generate-state", {"generate_prompt": "a", "generate_count": 10**6}),
    "a size below nothing": ("generate-go", "generate-state", {"generate_prompt": "a", "generate_width": -8}),
    "a seed beyond all numbers": ("generate-go", "generate-state", {"generate_prompt": "a", "generate_seed": 10**300}),
    "a seed that is a list": ("generate-go", "generate-state", {"generate_prompt": "a", "generate_seed": [1]}),
    "a sampler that is a path": ("generate-go", "generate-state",
                                 {"generate_prompt": "a", "generate_sampler": "../../etc/passwd"}),
    "a weight that is none": ("generate-go", "generate-state", {"generate_prompt": "a", "generate_row_0": "heavy"}),
    "a photo that is the server's": ("wear-go", "wear-state", {"wear_person": PASSWD, "wear_garment": PASSWD}),
    "a photo of the project": ("wear-go", "wear-state", {"wear_person": SERVER, "wear_garment": SERVER}),
    "a photo that is words": ("wear-go", "wear-state", {"wear_person": "me.png"}),
    "a garment of no kind": ("wear-go", "wear-state", {"wear_kind": "crown"}),
    "a mask that is a list": ("wear-go", "wear-state", {"wear_mask": [1, 2, 3]}),
    "pictures that are the server's": ("subject-train", "subject-state",
                                       {"subject_files": [SERVER, PASSWD], "subject_name": "dog"}),
    "a rank of a million": ("subject-train", "subject-state", {"subject_rank": 10**6, "subject_name": "dog"}),
    "a rate that is none": ("subject-train", "subject-state", {"subject_rate": "fast", "subject_name": "dog"}),
    "a shopper who is not there": ("go", "state", {"user": "<script>alert(1)</script>"}),
    "a million looks": ("go", "state", {"looks": 10**6}),
    "a subject of somebody else": ("go", "state", {"looks_subject": "../../etc", "looks": 1}),
    "a history that is the server's": ("history-file", "state", {"history_file": SERVER}),
    "settings that are the server's": ("restore", "state", {"restore": SERVER}),
    "a LoRA file that is the server's": ("generate-loras", "generate-state", {"generate_loras": [PASSWD]}),
}  # fmt: skip
UPLOADS = {"history-file", "restore", "generate-loras", "wear-person"}


@pytest.fixture
def anna(address) -> Iterator[Any]:
    made = visitor.Visitor(address, timeout=60)
    yield made
    made.close()


def told(who: Any, act: str, state: str, fields: dict[str, Any]) -> str:
    """Do it; return what is told, by the page or by the library before it."""
    try:
        who.press(act, "upload" if act in UPLOADS else "click", **fields)
    except RuntimeError as refused:
        return str(refused)
    return who.read(state)


@pytest.mark.parametrize("case", FORGED)
def test_forged_values_are_told_a_sentence_and_name_no_place(anna, case):
    act, state, fields = FORGED[case]
    said = told(anna, act, state, fields)
    assert "⚠" in said or "error" in said, said
    assert "<script" not in said or said.startswith("{")  # the library's answers are JSON, and shown as text
    for own in (value for value in fields.values() if isinstance(value, str) and len(value) > 1):
        said = said.replace(own, "")
    assert not PLACES.search(said), said


def test_a_visitor_reaches_nothing_of_anothers(anna, address):
    bert = visitor.Visitor(address, timeout=60)
    data = io.BytesIO()
    Image.new("RGB", (60, 90), "gray").save(data, "PNG")
    bert.press("wear-garment", "upload", wear_garment=bert.upload("mine.png", data.getvalue()))
    theirs = bert.read("wear-garment")["path"]
    taken = {"path": theirs, "meta": {"_type": "gradio.FileData"}}
    for act, state, fields in (
        ("wear-go", "wear-state", {"wear_person": taken, "wear_garment": taken}),
        ("subject-train", "subject-state", {"subject_files": [taken], "subject_name": "dog"}),
        ("restore", "state", {"restore": taken}),
        ("history-file", "state", {"history_file": taken}),
    ):
        said = told(anna, act, state, fields)
        assert ("⚠" in said or "error" in said) and not PLACES.search(said), said
    assert bert.file(theirs)  # and what was another's is still theirs


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
             for kind, data in chunks]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bomb(side: int) -> bytes:
    """A picture of few bytes and many pixels."""
    head = (b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return png(head, (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))


def safetensors(head: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(head) if length is None else length) + head


HEADED = json.dumps({"page": {"tab": "tryon", "settings": {"kind": ["a"]}, "photos": {"person": "/etc/passwd"}}})
FILES: dict[str, tuple[str, bytes]] = {
    "bomb.png": ("wear-person", bomb(60_000)), "words.png": ("wear-person", b"these are words"),
    "empty.png": ("wear-person", b""), "svg.png": ("wear-person", b"<svg onload='alert(1)'/>"),
    "page.jpg": ("wear-person", b"<html><script>alert(1)</script>"), "half.jpg": ("wear-person", b"\xff\xd8\xff\xe0"),
    "gif.png": ("wear-person", b"GIF89a" + bytes(20)), "torn.webp": ("wear-person", b"RIFF\xff\xff\xff\xffWEBPVP8 "),
    "none.avif": ("wear-person", b"\0\0\0\x20ftypavif" + bytes(30)), "tiff.png": ("wear-person", b"II*\0" + bytes(40)),
    "..%2f..%2fx.png": ("wear-person", b"x"), "ä\u202egnp.png": ("wear-person", b"x"),
    "deep.yaml": ("restore", b"[" * 5000), "run.yaml": ("restore", b"!!python/object/apply:os.system ['true']"),
    "bytes.yml": ("restore", bytes(range(256))), "words.yaml": ("restore", b"steps"),
    "nothing.png": ("restore", bomb(2)),
    "text.png": ("restore", png((b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
                                (b"tEXt", b"personagen\0" + HEADED.encode()), (b"IEND", b""))),
    "nul.csv": ("history-file", b"item\n\0\n\0\0"), "other.csv": ("history-file", b"a;b\n1;2\n"),
    "wide.csv": ("history-file", b"item," * 50_000), "pickle.safetensors": ("generate-loras", b"\x80\x04]\x94K\x01a."),
    "long.safetensors": ("generate-loras", safetensors(b"{}", 2**62)),
    "path.safetensors": ("generate-loras", safetensors(json.dumps({"__metadata__": {"a": "/etc/passwd"}}).encode())),
    "void.safetensors": ("generate-loras", b""),
}  # fmt: skip
STATES = {"wear-person": "wear-state", "restore": "state", "history-file": "state", "generate-loras": "generate-state"}


@pytest.mark.parametrize("name", FILES)
def test_hostile_files_are_told_a_sentence_and_name_no_place(anna, name):
    place, data = FILES[name]
    try:
        given = anna.upload(name, data, "application/octet-stream")
    except Exception as refused:  # the library takes no such name
        assert "40" in str(refused)
        return
    said = told(anna, place, STATES[place], {place: [given] if place == "generate-loras" else given})
    if name == "text.png":  # its tab opens; what it says that cannot be is left out
        said = anna.read("wear-state")
    assert ("⚠" in said or "error" in said) and not PLACES.search(said), said


def test_events_of_cards_that_are_not_there_are_told(anna):
    (moved,) = [event for event in anna.events if [anna.named["board"], "click"] in event["targets"]]
    for wrong in ({"act": "wear", "at": 99}, {"act": "wear", "at": "__class__"}, {"act": "wear"}, {}, [], None):
        (answer,) = anna.ask(moved["id"], [anna.values[at] for at in moved["inputs"]], queue=False, event_data=wrong)
        said = str(answer[1])
        assert "⚠" in said and not PLACES.search(said), said


def test_after_all_that_the_page_paints(anna):
    anna.press("generate-go", generate_prompt="a red dress", generate_count=1, generate_steps=1)
    assert "1 picture in" in anna.read("generate-state") and len(anna.read("generate-gallery")) == 1
