"""Hostile texts: captions, metadata.jsonl, YAML and JSON files, and what can stand for any of them."""

import json

DEEP = 3_000
"""Levels of nesting that overflow a reader's stack."""


def content() -> dict[str, dict[str, bytes]]:
    """Sort -> name -> bytes."""
    return {
        "texts": _texts(),
        "captions": _captions(),
        "metadata": _metadata(),
        "configs": _configs(),
        "json": _json(),
        "recommender-config": _recommender_configs(),
        "recommender-items": _recommender_items(),
        "subject-run": _subject_runs(),
    }


def _texts() -> dict[str, bytes]:
    return {
        "empty": b"",
        "newlines": b"\n\n\r\n",
        "spaces": b"   \t ",
        "byte_order_mark_alone": b"\xef\xbb\xbf",
        "utf16_mark_alone": b"\xff\xfe",
        "utf16_odd_length": b"\xff\xfea\0b",
        "utf16_half_a_pair": b"\xff\xfe\x00\xd8a\0",
        "utf32": "user,item\na,b\n".encode("utf-32"),
        "latin1": "Müller, Größe\n".encode("latin-1"),
        "shift_jis": "写真,服\n".encode("shift-jis"),
        "zeros": bytes(1_000),
        "all_bytes": bytes(range(256)) * 4,
        "line_of_40000_letters": b"x" * 40_000,
        "quotes": b'"""""\n"',
        "commas": b",,,,\n,,,,\n",
        "terminal_codes": b"\x1b]0;title\x07\x1b[2Ju1\n",
        "image_named_txt": b"\x89PNG\r\n\x1a\n" + bytes(60),
        "html": b"<!DOCTYPE html><html><body>404</body></html>\n",
    }


def _captions() -> dict[str, bytes]:
    return {
        "good.txt": b"a photo of sks dog\n",
        "byte_order_mark.txt": b"\xef\xbb\xbfa photo of {token} dog",
        "utf16.txt": "a photo of {token} dog".encode("utf-16"),
        "braces.txt": b"a {photo} of {token} {0} {} {token.__class__}",
        "percents.txt": b"a %s photo %(token)s",
        "of_1000_words.txt": b"a photo of sks dog " * 250,
        "of_30_kilobytes.txt": b"x" * 30_000,
        "emoji.txt": "sks 🐕\u200d🦺 \u202e".encode(),
        "end_of_text.txt": b"sks dog<|endoftext|><|startoftext|> cat",
        "nul_bytes.txt": b"sks\0dog",
        "many_lines.txt": b"sks dog\n" * 50,
        "CAPITALS.TXT": b"sks dog",
        "other_ending.caption": b"sks dog",
    }


def _metadata() -> dict[str, bytes]:
    """They speak of a.png to c.png."""
    row = lambda **values: json.dumps(values).encode() + b"\n"
    return {
        "good.jsonl": row(file_name="a.png", text="sks dog"),
        "list_instead_of_lines.jsonl": b'[{"file_name": "a.png"}]',
        "text_is_a_list.jsonl": row(file_name="a.png", text=["sks", "dog"]),
        "text_is_null.jsonl": row(file_name="a.png", text=None),
        "name_is_a_number.jsonl": row(file_name=7, text="sks"),
        "name_is_missing.jsonl": row(text="sks"),
        "name_climbs.jsonl": row(file_name="../a.png", text="sks"),
        "name_backslash.jsonl": row(file_name=".\\a.png", text="sks"),
        "name_with_nul.jsonl": row(file_name="a\0.png", text="sks"),
        "name_too_long.jsonl": row(file_name="x" * 5_000, text="sks"),
        "name_twice.jsonl": row(file_name="a.png", text="one") + row(file_name="a.png", text="two"),
        "name_of_no_file.jsonl": row(file_name="no_such.png", text="sks"),
        "mask_is_itself.jsonl": row(file_name="a.png", text="sks", mask="a.png"),
        "mask_is_a_list.jsonl": row(file_name="a.png", text="sks", mask=["b.png"]),
        "mask_is_missing.jsonl": row(file_name="a.png", text="sks", mask="no_such.png"),
        "cut_line.jsonl": row(file_name="a.png", text="sks") + b'{"file_name": "b.p',
        "numbers.jsonl": b"1\n2\n",
        "half_a_pair.jsonl": b'{"file_name": "a.png", "text": "\\ud800"}\n',
        "deep.jsonl": b"[" * DEEP + b"]" * DEEP + b"\n",
        "line_separator.jsonl": '{"file_name": "a.png", "text": "sks\u2028dog"}\n'.encode(),
    }


def _configs() -> dict[str, bytes]:
    return {
        "unknown_key.yaml": b"learning_rat: 0.1\n",
        "unknown_inner_key.yaml": b"loop:\n  stepz: 3\n",
        "list.yaml": b"- a\n- b\n",
        "text.yaml": b"just a sentence\n",
        "number.yaml": b"17\n",
        "tab_indented.yaml": b"loop:\n\tsteps: 3\n",
        "colon_missing.yaml": b"seed 3\nname: x\n",
        "quote_left_open.yaml": b'name: "dog\n',
        "key_twice.yaml": b"seed: 1\nseed: 2\n",
        "keys_that_are_numbers.yaml": b"1: 2\n3: 4\n",
        "null_everywhere.yaml": b"seed:\nname:\nout:\n",
        "two_documents.yaml": b"seed: 1\n---\nseed: 2\n",
        "python_object.yaml": b"seed: !!python/object/apply:os.system ['true']\n",
        "itself.yaml": b"seed: &a [*a]\n",
        "billion_laughs.yaml": b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
            b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((b, b) + (b - 1,) * 9) for b in range(98, 106)),
        "deep.yaml": b"seed: " + b"[" * 1_000 + b"]" * 1_000 + b"\n",
        "seed_of_words.yaml": b"seed: many\n",
        "seed_infinite.yaml": b"seed: .inf\n",
        "seed_of_400_digits.yaml": b"seed: " + b"9" * 400 + b"\n",
        "seed_is_a_list.yaml": b"seed: [1, 2]\n",
        "seed_of_sexagesimals.yaml": b"seed: 1:30\n",
        "json.yaml": b'{"seed": 1}\n',
        "names_another_config.yaml": b"config: names_another_config.yaml\n",
        "utf16.yaml": "seed: 1\n".encode("utf-16"),
    }  # fmt: skip


def _json() -> dict[str, bytes]:
    return {
        "empty.json": b"",
        "zeros.json": bytes(200),
        "cut.json": b'{"model": "popularity", "config": {"n_it',
        "null.json": b"null",
        "number.json": b"7",
        "text.json": b'"text"',
        "list.json": b"[]",
        "object.json": b"{}",
        "list_of_lists.json": b"[[[]], [{}]]",
        "trailing_comma.json": b'{"a": 1,}',
        "nan.json": b'{"a": NaN, "b": Infinity}',
        "number_of_5000_digits.json": b'{"n_items": ' + b"9" * 5_000 + b"}",
        "deep_lists.json": b"[" * DEEP + b"]" * DEEP,
        "deep_objects.json": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        "key_twice.json": b'{"model": "a", "model": "b"}',
        "half_a_pair.json": b'{"model": "\\ud800"}',
        "utf16.json": '{"a": 1}'.encode("utf-16"),
        "byte_order_mark.json": b'\xef\xbb\xbf{"a": 1}',
        "latin1.json": '{"a": "ü"}'.encode("latin-1"),
        "html_named.json": b"<html>404</html>",
        "pointer_of_git_lfs.json": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
    }


def _recommender_configs() -> dict[str, bytes]:
    of = lambda model, **config: json.dumps({"model": model, "config": config}).encode()
    return {
        "model_unknown.json": of("no_such_model", n_items=11),
        "model_is_a_list.json": json.dumps({"model": ["popularity"], "config": {"n_items": 11}}).encode(),
        "model_is_null.json": of(None, n_items=11),
        "config_is_a_list.json": json.dumps({"model": "popularity", "config": [["n_items", 11]]}).encode(),
        "config_is_a_text.json": json.dumps({"model": "popularity", "config": "n_items"}).encode(),
        "items_missing.json": of("popularity"),
        "items_negative.json": of("popularity", n_items=-1),
        "items_of_words.json": of("popularity", n_items="eleven"),
        "items_fraction.json": of("popularity", n_items=11.5),
        "items_null.json": of("popularity", n_items=None),
        "items_beyond_memory.json": of("sasrec", n_items=10**15),
        "setting_unknown.json": of("popularity", n_items=11, colour="red"),
        "dim_zero.json": of("sasrec", n_items=11, dim=0),
        "dim_of_words.json": of("sasrec", n_items=11, dim="wide"),
        "blocks_beyond_memory.json": of("sasrec", n_items=11, n_layers=10**9),
    }


def _recommender_items() -> dict[str, bytes]:
    of = lambda value: json.dumps(value).encode()
    names = [f"i{n}" for n in range(11)]
    return {
        "one_too_many.json": of([*names, "i11"]),
        "one_too_few.json": of(names[:-1]),
        "one_twice.json": of([*names[:-1], "i0"]),
        "one_empty.json": of([*names[:-1], ""]),
        "numbers.json": of(list(range(11))),
        "lists.json": of([[name] for name in names]),
        "nulls.json": of([None] * 11),
        "object.json": of(dict.fromkeys(names, 1)),
        "unhashable.json": of([{} for _ in names]),
    }


def _subject_runs() -> dict[str, bytes]:
    of = lambda **config: json.dumps({"config": config}).encode()
    return {
        "config_missing.json": b'{"steps": 3}',
        "config_is_a_list.json": b'{"config": []}',
        "config_is_null.json": b'{"config": null}',
        "name_is_missing.json": of(instance_data_dir="x"),
        "name_is_a_list.json": of(instance_data_dir="x", name=["dog"]),
        "folder_is_a_number.json": of(instance_data_dir=7, name="dog"),
        "rank_of_words.json": of(instance_data_dir="x", name="dog", rank="many"),
        "preset_unknown.json": of(instance_data_dir="x", name="dog", preset="dragon"),
        "base_is_a_list.json": of(instance_data_dir="x", name="dog", pretrained_model_name_or_path=["embedded"]),
        "tokens_are_a_text.json": of(instance_data_dir="x", name="dog", new_tokens="two"),
        "loras_are_a_number.json": of(instance_data_dir="x", name="dog", loras=3),
        "setting_unknown.json": of(instance_data_dir="x", name="dog", colour="red"),
        "metrics_are_a_text.json": json.dumps(
            {"config": {"instance_data_dir": "x", "name": "dog"}, "metrics": "good"}
        ).encode(),
    }
