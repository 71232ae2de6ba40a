"""run.json: what is written is read; older files load; what is damaged or unknown is one clear line."""

import json

import pytest

from personagen.subject import SubjectConfig, resolve
from personagen.subject.record import SubjectRun, read_run, write_run
from recsys.errors import ModelError


def test_what_is_written_is_read(tmp_path):
    config = resolve(SubjectConfig(instance_data_dir="photos", name="dog", new_tokens=2))
    run = SubjectRun(config, {"torch": "2"}, "cpu", 3, "ab", 9, 0.5, [(9, 0.1)], {"reload": 0.0})
    write_run(run, tmp_path)
    found = read_run(tmp_path)
    assert found is not None and found.config == config and found.metrics == run.metrics and found.steps == 9
    assert read_run(tmp_path / "elsewhere") is None


def test_an_older_run_loads_and_an_unknown_one_is_one_line(tmp_path):
    def write(content):
        (tmp_path / "run.json").write_text(json.dumps(content))

    write({"config": {"instance_data_dir": "photos", "name": "dog", "report_to": "none"}})
    found = read_run(tmp_path)
    assert found is not None and found.config.name == "dog" and found.config.concepts == ["s"] and found.steps == 0
    for content, word in (
        ({"config": {"name": "dog"}}, "instance_data_dir"),
        ({"config": {"instance_data_dir": "x", "name": "dog", "ranks": 3}}, "unknown: ranks"),
        ({"config": {"instance_data_dir": "x", "name": "dog"}, "step": 3}, "unknown: step"),
        ({"config": {"instance_data_dir": "x", "name": "dog", "seed": -1}}, "seed"),
        ({"model": "sasrec"}, "config"),
        ([], "damaged"),
    ):
        write(content)
        with pytest.raises(ModelError, match=word) as error:
            read_run(tmp_path)
        assert "\n" not in str(error.value) and "train the subject again" in str(error.value)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        read_run(tmp_path)
