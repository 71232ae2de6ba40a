"""The page for programs: gradio's own client, the key, what is described to whom, limits, and what stays of a call."""

import asyncio
import base64
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from apps import cli
from apps.page import api, app, keys
from personagen.provenance import read_png
from recsys.errors import ConfigError, DataError, ResourceError
from tests.place import ROOT

from ..serving import serving

gradio_client = pytest.importorskip("gradio_client")
httpx2 = pytest.importorskip("httpx2")
KEY = "a key of the tests"
PLACES = ("info", "openapi.json", "call/looks", "run/looks", "api/generate")


@pytest.fixture(scope="module")
def opened(studio, address, tmp_path_factory):
    """The address of a page that programs may ask, and its folder."""
    with serving(studio, tmp_path_factory.mktemp("api"), door=api.Door(KEY)) as served:
        yield served


@pytest.fixture
def client(opened, tmp_path):
    made = gradio_client.Client(opened.url, headers={"Authorization": f"Bearer {KEY}"}, verbose=False,
                                download_files=str(tmp_path / "got"))  # fmt: skip
    yield made
    made.close()


def test_without_api_nothing_is_described_and_nothing_can_be_called(address):
    for place in PLACES:
        for headers in ({}, {"Authorization": f"Bearer {KEY}"}):
            assert httpx.get(f"{address}gradio_api/{place}", headers=headers).status_code == 404
            assert httpx.post(f"{address}gradio_api/{place}", headers=headers, json={"data": []}).status_code == 404
    config = httpx.get(f"{address}config").json()
    assert {one["api_visibility"] for one in config["dependencies"]} == {"private"}


def test_endpoints_are_described_to_those_with_the_key(opened, client):
    for place in PLACES:
        refused = httpx.get(f"{opened.url}gradio_api/{place}", headers={"Authorization": "Bearer another"})
        assert refused.status_code == 401 and "Bearer KEY" in refused.json()["error"]
    described = client.view_api(return_format="dict")["named_endpoints"]
    assert set(described) == {"/looks", "/generate", "/tryon", "/subject"}
    assert all(one["description"] for one in described.values())
    assert [one["parameter_name"] for one in described["/tryon"]["parameters"]][:3] == ["person", "garment", "kind"]
    headers = {"Authorization": f"Bearer {KEY}"}
    openapi = httpx.get(f"{opened.url}gradio_api/openapi.json", headers=headers).json()
    assert any(path.endswith("/generate") for path in openapi["paths"])
    page = httpx.get(opened.url)
    assert page.status_code == 200 and "content-security-policy" in page.headers


def test_nobody_works_without_the_key(opened):
    config = httpx.get(f"{opened.url}config").json()
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "generate")
    body = {
        "data": ["a dress", "", 2, 5, "", 0, 0, 1, 0, None, [], "embedded"],
        "fn_index": number,
        "session_hash": "nobody",
    }
    joined = httpx.post(f"{opened.url}gradio_api/queue/join", json=body)
    assert joined.status_code == 200
    told = ""
    with httpx.stream("GET", f"{opened.url}gradio_api/queue/data?session_hash=nobody", timeout=30) as answers:
        for line in answers.iter_lines():
            told += line
            if "process_completed" in line:
                break
    assert "the key is missing or wrong" in told and "picture" not in told
    straight = httpx.post(f"{opened.url}gradio_api/run/predict", json=body)
    assert straight.status_code != 200


def test_pictures_are_painted_as_the_page_paints_them(client):
    files, line = client.predict("a red dress", steps=2, count=2, seed=5, api_name="/generate")
    assert "2 pictures" in line and len(files) == 2
    record = read_png(files[0]).record
    assert record is not None and record["page"]["settings"]["prompt"] == "a red dress"
    again, _ = client.predict("a red dress", steps=2, count=2, seed=5, api_name="/generate")
    assert [open(one, "rb").read() for one in files] == [open(one, "rb").read() for one in again]


@pytest.mark.slow
def test_looks_of_a_user_and_of_a_history(client, studio):
    files, line = client.predict(user="3", looks=1, scenes=0, steps=2, api_name="/looks")
    assert "1 picture" in line and {"looks.json", "sheet.png"} < {os.path.basename(one) for one in files}
    names = studio.source.catalog.names
    files, _ = client.predict(user="3", history=list(names[:2]), looks=0, scenes=1, steps=2, api_name="/looks")
    written = json.loads(open(next(one for one in files if one.endswith("looks.json"))).read())
    assert names[0] in json.dumps(written["history"]) or 1 in written["history"]
    with pytest.raises(Exception, match="not in this catalogue"):
        client.predict(user="3", history=["nothing"], looks=1, api_name="/looks")


def test_a_garment_is_tried_on_and_its_kind_is_found(client, studio, someone, tmp_path):
    Image.new("RGB", (60, 90), "gray").save(tmp_path / "me.png")
    studio.source.catalog[5].image.save(tmp_path / "top.png")
    given = {name: gradio_client.handle_file(str(tmp_path / f"{file}.png"))
             for name, file in (("person", "me"), ("garment", "top"))}  # fmt: skip
    files, line = client.predict(**given, steps=2, api_name="/tryon")
    assert "Done in" in line and "taken for" in line and os.path.basename(files[0]) == "worn.png"
    with Image.open(files[0]) as worn:
        assert worn.size == (60, 90)


def test_the_program_of_the_guide_runs(opened, studio, someone, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "page.md").read_text(encoding="utf-8").split("```py\n")[1].split("```")[0]
    Image.new("RGB", (60, 90), "gray").save(tmp_path / "me.jpg")
    studio.source.catalog[5].image.save(tmp_path / "tee.jpg")
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(text.replace("http://127.0.0.1:7860", opened.url).replace("Bearer KEY", f"Bearer {KEY}"), found)
    assert len(found["files"]) == 2 and "2 pictures" in found["line"]


@pytest.mark.slow
def test_a_subject_is_learnt_and_whoever_is_seen_must_have_agreed(client, tmp_path):
    for at in range(4):
        noise = np.random.default_rng(at).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((512, 512)).save(tmp_path / f"{at}.png")
    pictures = [gradio_client.handle_file(str(tmp_path / f"{at}.png")) for at in range(4)]
    with pytest.raises(Exception, match="must have agreed"):
        client.predict(pictures, "ann", preset="person", max_train_steps=2, api_name="/subject")
    files, line = client.predict(pictures, "rug", max_train_steps=2, rank=2, api_name="/subject")
    names = {os.path.basename(one) for one in files}
    assert {"pytorch_lora_weights.safetensors", "run.json"} < names and "rug" in line
    weights = gradio_client.handle_file(next(one for one in files if one.endswith("weights.safetensors")))
    with pytest.raises(Exception, match="another base model"):  # the page of the tests paints with another
        client.predict("a sks rug", steps=2, loras=[weights], weights=[0.5], api_name="/generate")


WRONG = {
    "an empty prompt": (("/generate", {"prompt": " "}), "prompt is empty"),
    "too many steps": (("/generate", {"prompt": "a", "steps": 10**6}), "steps|maximum"),
    "weights without files": (("/generate", {"prompt": "a", "weights": [1, 1]}), "list of 0 numbers"),
    "nobody": (("/looks", {"user": "nobody"}), "atelier"),
    "a garment of no kind": (("/tryon", {"person": None, "garment": None, "kind": "crown"}), "kind|crown|choices"),
    "no pictures": (("/subject", {"pictures": [], "name": "dog"}), "no pictures"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_and_names_no_place(case, client, opened):
    (name, given), words = WRONG[case]
    with pytest.raises(Exception, match=words) as told:
        client.predict(**given, api_name=name)
    assert str(opened.folder) not in str(told.value) and ".py" not in str(told.value)


def test_a_file_of_the_server_is_no_upload(opened, client):
    secret = opened.folder / "item-secret.png"
    Image.new("RGB", (60, 90)).save(secret)
    config = httpx.get(f"{opened.url}config").json()
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "tryon")
    for path in (str(secret), "/etc/passwd"):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        body = {"data": [file, file, "auto", 1, 1.5, 1, 0, True], "fn_index": number, "session_hash": "forger"}
        headers = {"Authorization": f"Bearer {KEY}"}
        assert httpx.post(f"{opened.url}gradio_api/queue/join", json=body, headers=headers).status_code == 200
        with httpx.stream("GET", f"{opened.url}gradio_api/queue/data?session_hash=forger", timeout=30) as answers:
            told = "".join(line for line in answers.iter_lines())
        assert '"success":false' in told and "root:" not in told and "worn" not in told


def test_the_door_counts_who_is_inside():
    door, asked = api.Door(KEY, most=1), SimpleNamespace(headers={"authorization": f"Bearer {KEY}"})
    with door.entered(asked):
        with pytest.raises(ResourceError, match="as many as are taken"), door.entered(asked):
            pass
    with door.entered(asked):
        pass
    for wrong in ({}, {"authorization": "Bearer \u00ff"}, {"authorization": KEY[:-1]}):
        with pytest.raises(DataError, match="key is missing or wrong"), door.entered(SimpleNamespace(headers=wrong)):
            pass


def test_what_was_made_goes_after_a_while(opened, client, monkeypatch):
    monkeypatch.setattr(api, "KEEPS", 0.5)
    before = set(opened.folder.glob("visit-*"))
    client.predict("a dress", steps=1, api_name="/generate")
    for _ in range(50):
        time.sleep(0.1)
        if set(opened.folder.glob("visit-*")) <= before:
            break
    assert set(opened.folder.glob("visit-*")) <= before


def test_the_command_wants_a_key_for_it(monkeypatch, capsys):
    monkeypatch.delenv(keys.KEY, raising=False)
    assert cli.main(["demo", "--api", "true"]) == 2 and keys.KEY in capsys.readouterr().err
    assert cli.main(["demo", "--api", "true", "--api_key", "short"]) == 2
    assert cli.main(["demo", "--api_key", KEY]) == 2 and "--api" in capsys.readouterr().err
    monkeypatch.setenv(keys.KEY, KEY)
    assert app.api_key(SimpleNamespace(api=True, api_key=None)) == KEY  # type: ignore[arg-type]
    assert app.api_key(SimpleNamespace(api=False, api_key=None)) is None  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        keys.key_from("")


def assistant(opened, *, key: str = KEY):
    """Return a function that asks the page's tools as an assistant does: `ask(name, arguments)` or `ask()` for all."""
    mcp, transport = pytest.importorskip("mcp"), pytest.importorskip("mcp.client.streamable_http")

    async def asked(name: str | None, given: dict, told: list):
        async def progress(part, total, message):
            told.append(message)

        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
            place = transport.streamable_http_client(f"{opened.url}gradio_api/mcp", http_client=http)
            async with mcp.Client(place) as client:
                if name is None:
                    return (await client.list_tools()).tools
                return await client.call_tool(name, given, progress_callback=progress)

    def ask(name: str | None = None, given: dict | None = None, told: list | None = None) -> Any:
        with ThreadPoolExecutor(1) as beside:  # the browser's driver has a loop of its own in this thread
            return beside.submit(lambda: asyncio.run(asked(name, given or {}, [] if told is None else told))).result()

    return ask


def as_data(path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_assistants_find_the_endpoints_as_tools_and_call_them(opened, studio, someone, tmp_path):
    ask, told = assistant(opened), []
    tools = {one.name: one for one in ask()}
    assert set(tools) == {"looks", "generate", "tryon", "subject"} and all(one.description for one in tools.values())
    assert tools["generate"].input_schema["properties"]["steps"]["maximum"] == 100
    assert tools["tryon"].input_schema["required"] == ["person", "garment"]
    painted = ask("generate", {"prompt": "a red dress", "steps": 2, "count": 2, "seed": 5}, told)
    assert (
        not painted.is_error and "2 pictures" in painted.content[0].text and any("step 1 of 2" in one for one in told)
    )
    data = [base64.b64decode(one.data) for one in painted.content[1:]]
    (tmp_path / "first.png").write_bytes(data[0])
    record = read_png(tmp_path / "first.png").record
    assert len(data) == 2 and record is not None and record["page"]["settings"]["prompt"] == "a red dress"
    Image.new("RGB", (60, 90), "gray").save(tmp_path / "me.png")
    studio.source.catalog[5].image.save(tmp_path / "top.png")
    given = {"person": as_data(tmp_path / "me.png"), "garment": as_data(tmp_path / "top.png"), "steps": 2}
    worn = ask("tryon", given)
    assert not worn.is_error and "taken for" in worn.content[0].text and worn.content[1].type == "image"
    assert not list(opened.folder.glob("mcp-*")) and str(opened.folder) not in worn.content[0].text


HIDDEN = {
    "beyond a limit": ("generate", {"prompt": "a", "steps": 1000}, "greater than the maximum of 100"),
    "nothing": ("generate", {}, "'prompt' is a required"),
    "a field that is none": ("generate", {"prompt": "a", "seeds": 1}, "'seeds' was unexpected"),
    "an empty prompt": ("generate", {"prompt": " "}, "prompt is empty"),
    "a file of the server": ("tryon", {"person": "/etc/passwd", "garment": "/etc/passwd"}, "is no file"),
    "an address": ("tryon", {"person": "http://127.0.0.1/a.png", "garment": "data:,"}, "is no file"),
    "no picture": ("tryon", {"person": "data:image/png;base64,AAAA", "garment": "data:;base64,AAAA"}, "person"),
    "weights without files": ("generate", {"prompt": "a", "weights": [1, "x"]}, "list of 0 numbers"),
    "no tool": ("forget", {}, "there is no tool 'forget'"),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_an_assistant_gives_wrongly_is_said_and_names_no_place(case, opened):
    name, given, words = HIDDEN[case]
    told = assistant(opened)(name, given)
    assert told.is_error and words in told.content[0].text
    assert str(opened.folder) not in told.content[0].text and ".py" not in told.content[0].text
    assert not list(opened.folder.glob("mcp-*"))


def test_assistants_without_the_key_are_told_so(opened, address):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for place in ("mcp", "mcp/", "mcp/sse", "mcp/schema"):
        refused = httpx.post(f"{opened.url}gradio_api/{place}", json=body, headers={"Authorization": "Bearer another"})
        assert refused.status_code == 401
        assert httpx.post(f"{address}gradio_api/{place}", json=body).status_code == 404
    with pytest.raises(Exception):  # noqa: B017
        assistant(opened, key="another key of it")()
