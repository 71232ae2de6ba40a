import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from personagen.provenance import Parameters, format_parameters, parse_parameters, quote, read_png, unquote, write_png
from recsys.errors import DataError

SETTINGS = {"Steps": "20", "Sampler": "DDIM", "CFG scale": "7", "Seed": "1", "Size": "512x768", "Model": "embedded"}


def test_text_is_what_the_web_ui_writes():
    text = format_parameters(Parameters("a person in a red dress", "blurry", SETTINGS))
    assert text == (
        "a person in a red dress\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: DDIM, CFG scale: 7, Seed: 1, Size: 512x768, Model: embedded"
    )


def test_a_text_of_the_web_ui_is_read():
    text = (
        "photo of a (red:1.2) shirt,\nsoft light\nNegative prompt: blurry, lowres\nbad hands\n"
        "Steps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 1234, Size: 512x512, Model hash: abc, "
        'Lora hashes: "one: 1a2b, two: 3c4d", Version: v1.9.4'
    )
    found = parse_parameters(text)
    assert found.prompt == "photo of a (red:1.2) shirt,\nsoft light"
    assert found.negative_prompt == "blurry, lowres\nbad hands"
    assert found.settings["Sampler"] == "DPM++ 2M Karras"
    assert found.settings["Lora hashes"] == "one: 1a2b, two: 3c4d"
    assert list(found.settings)[-1] == "Version"


@pytest.mark.parametrize(
    "value", ["a, b", "a: b", "two\nlines", '"quoted"', " edge ", "x", "", 'back\\slash, "q"', "ü, é"]
)
def test_quoted_values_come_back(value):
    assert unquote(quote(value)) == value
    settings = {**SETTINGS, "Note": value}
    back = parse_parameters(format_parameters(Parameters("p", "", settings)))
    assert back == Parameters("p", "", settings)


@pytest.mark.parametrize("prompt", ["plain", "two\nlines", "colons: and, commas", "scale: 3", "naïve café 服"])
def test_prompts_come_back(prompt):
    for settings in ({}, SETTINGS):
        for negative in ("", "one\ntwo: three"):
            found = parse_parameters(format_parameters(Parameters(prompt, negative, settings)))
            assert found == Parameters(prompt, negative, settings)


def test_png_carries_both_chunks(tmp_path):
    parameters = Parameters("a person wearing a naïve 服", "", SETTINGS)
    path = write_png(Image.new("RGB", (8, 6), "red"), tmp_path / "a.png", parameters=parameters, record={"item": 3})
    found = read_png(path)
    assert found.parameters == parameters
    assert found.record == {"schema": "personagen/1", "item": 3}
    assert Image.open(path).getpixel((0, 0)) == (255, 0, 0)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_opt_out_leaves_nothing(tmp_path):
    path = write_png(Image.new("RGB", (8, 6)), tmp_path / "a.png")
    found = read_png(path)
    assert found.parameters is None and found.record is None
    assert b"tEXt" not in path.read_bytes() and b"iTXt" not in path.read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_png(Image.new("RGB", (8, 6)), tmp_path / "a.png")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_png(Image.new("RGB", (8, 6)), path, record={"item": object()})
    with pytest.raises(OSError):
        write_png(Image.new("CMYK", (8, 6)), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_bad_files_get_one_clear_line(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png"):
        read_png(tmp_path / "gone.png")
    whole = write_png(Image.effect_noise((64, 64), 50), tmp_path / "a.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"half\.png"):
        read_png(tmp_path / "half.png")
    for text in ("{broken", json.dumps([1])):
        chunks = PngInfo()
        chunks.add_text("personagen", text)
        Image.new("L", (4, 4)).save(tmp_path / "edited.png", pnginfo=chunks)
        with pytest.raises(DataError, match=r"edited\.png"):
            read_png(tmp_path / "edited.png")
