"""From a card into the other tabs, one's own history, and LoRA files in Generate: what each button and file brings."""

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from personagen.adapters.lora import Lora, attach, collect, save_kohya
from tests.place import ROOT

from ..tiny import pipelines

sys.path.append(str(ROOT / "benchmarks"))
visitor = pytest.importorskip("visitor", reason="the benchmarks are not here")


@pytest.fixture
def anna(address) -> Iterator[Any]:
    made = visitor.Visitor(address, timeout=300)
    yield made
    made.close()


def happen(who: Any, elem_id: str, kind: str, said: Any) -> list[Any]:
    """Let an event happen that carries something, and what follows it; return its answer."""
    (event,) = [one for one in who.events if [who.named[elem_id], kind] in one["targets"]]
    values = [who.values[at] for at in event["inputs"]]
    (answer,) = who.ask(event["id"], values, queue=event["queue"], event_data=said)
    who.take(event, answer)
    who.follow(event)
    return answer


def record_of(who: Any) -> dict[str, Any]:
    """What the first picture of the board carries."""
    path = who.read("board").partition('src="gradio_api/file=')[2].partition('"')[0]
    with Image.open(io.BytesIO(who.file(path))) as image:
        return json.loads(image.info["personagen"])


def test_a_card_leads_into_the_other_tabs_with_everything_filled_in(anna, someone):
    anna.press("go", looks=1, scenes=0, steps=1)
    assert "1 picture in" in anna.read("state") and 'data-act="turn"' in anna.read("board")
    kind = record_of(anna)["words"]["kind"]
    answer = happen(anna, "board", "click", {"act": "wear", "at": 0})
    assert answer[0]["selected"] == "tryon" and "garment-" in anna.read("wear-garment")["path"]
    assert "Give a photo of yourself, then press Try on" in anna.read("wear-state")
    assert anna.read("wear-kind") == kind
    happen(anna, "board", "click", {"act": "turn", "at": 0})
    assert "then press Turn (3D)" in anna.read("wear-state")
    happen(anna, "looks-people", "click", {"what": "person-1"})
    happen(anna, "board", "click", {"act": "wear", "at": 0})
    assert "person-1" in anna.read("wear-person")["path"] and "may be repainted" in anna.read("wear-state")
    anna.press("wear-person", "upload", wear_person=anna.upload("text.png", b"these are words"))
    assert "text.png is not a JPEG" in anna.read("wear-state")  # said by us, not by the library, after updates as well
    answer = happen(anna, "board", "click", {"act": "paint", "at": 0})
    assert answer[0]["selected"] == "generate" and "wearing" in anna.read("generate-prompt")
    assert "under Teach you can teach yourself" in anna.read("generate-state")


def test_ones_own_history_is_clicked_or_a_file(anna, studio):
    anna.press("history-file", "upload",
               history_file=anna.upload("mine.csv", b"item,timestamp\n" + "\n".join(
                   f"{name},{9 - at}" for at, name in enumerate(studio.source.catalog.names[:3])).encode() +
                   b"\nnowhere,1\n", "text/csv"))  # fmt: skip
    assert "3 items of your file, 1 are not in this catalogue" in anna.read("state")
    happen(anna, "shelf", "select", {"index": 4, "value": None, "selected": True})
    tabs = {part["props"].get("id"): at for at, part in anna.parts.items() if part["type"] == "tabitem"}
    (own,) = [one for one in anna.events if [tabs["own"], "select"] in one["targets"] and len(one["outputs"]) == 1
              and not one["inputs"]]  # fmt: skip
    list(anna.ask(own["id"], []))
    anna.press("go", looks=0, scenes=1, steps=1)
    assert "1 picture in" in anna.read("state")
    assert record_of(anna)["run"]["page"]["own"]["picked"] == [3, 2, 1, 5]


def test_a_lora_file_becomes_a_row_that_paints_and_is_named_in_the_picture(anna, studio, monkeypatch, tmp_path):
    _, pipe = pipelines()
    pipe.save_pretrained(tmp_path / "base")
    monkeypatch.setitem(studio.models, "text2image", str(tmp_path / "base"))
    attach(pipe, Lora(rank=2))
    file = save_kohya(collect(pipe), tmp_path / "My style.safetensors")
    given = anna.upload(file.name, file.read_bytes(), "application/octet-stream")
    anna.press("generate-loras", "upload", generate_loras=[given])
    assert "1 LoRA file added" in anna.read("generate-state")
    row = anna.named["generate-row-0"]
    anna.values[row] = 0.5
    anna.press("generate-go", generate_prompt="a red dress", generate_count=1, generate_steps=1)
    assert "1 picture in" in anna.read("generate-state")
    record = anna.file(anna.read("generate-gallery")[0]["image"]["path"])
    assert b'"My-style"' in record and b'"weight": 0.5' in record
