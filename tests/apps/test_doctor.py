"""The doctor's report and its exit code."""

import json

from apps.commands import doctor
from apps.commands.config import DoctorConfig
from personagen.models.needs import NEEDS
from tests.place import ROOT

WELL = {
    "packages": dict.fromkeys(doctor.PACKAGES, "1"),
    "weights": {"embedded": {"folder": "f", "mib": 1.0, "missing": []}},
    "memory_free_gib": 8.0,
    "disk_free_gib": 8.0,
}


def test_the_report_names_everything(capsys):
    code = doctor.run(DoctorConfig(json=True))
    report = json.loads(capsys.readouterr().out)
    assert {"python", "packages", "cores", "threads", "device", "memory_gib", "disk_free_gib", "weights"} <= set(report)
    assert report["packages"]["torch"] and report["disk_free_gib"] > 0
    assert code == (report["problems"][0]["exit_code"] if report["problems"] else 0)


def test_the_text_ends_with_what_to_do(monkeypatch, capsys):
    report = doctor.examine()
    for problems, code, end in (
        ([], 0, "all is well  next: personagen style"),
        (
            [{"exit_code": 5, "text": "the disk is full"}, {"exit_code": 4, "text": "no unet"}],
            5,
            "PROBLEM      no unet",
        ),
    ):
        monkeypatch.setattr(doctor, "examine", lambda problems=problems: report | {"problems": problems})
        assert doctor.run(DoctorConfig()) == code
        assert capsys.readouterr().out.strip().splitlines()[-1] == end


def test_problems_have_their_exit_codes():
    assert doctor._problems(WELL) == []
    missing = {**WELL, "weights": {"embedded": {"folder": "f", "mib": 0.0, "missing": ["unet"]}}}
    assert [problem["exit_code"] for problem in doctor._problems(missing)] == [4]
    assert "unet" in doctor._problems(missing)[0]["text"]
    assert [problem["exit_code"] for problem in doctor._problems({**WELL, "memory_free_gib": 0.5})] == [5]
    assert [problem["exit_code"] for problem in doctor._problems({**WELL, "disk_free_gib": 0.1})] == [5]
    assert [problem["exit_code"] for problem in doctor._problems({**WELL, "memory_free_gib": None})] == []


def test_what_fits_is_said_in_bytes_with_what_helps():
    gpu, cpu = {"device": "cuda", "dtype": "bfloat16"}, {"device": "cpu", "dtype": "float32"}
    names = ["SD 1.5", "SDXL", "try-on"]
    roomy, tight, small = (doctor.what_fits(gpu, gib << 30) for gib in (24, 8, 4))
    assert [one["model"] for one in roomy] == names and all(one["fits"] for one in roomy)
    assert [one["helps"] for one in tight] == ["", "--offload model", ""]
    assert [one["helps"] for one in small] == ["", "--offload group", ""] and small[1]["bytes_free"] == 4 << 30
    assert [one["helps"] for one in doctor.what_fits(cpu, 12 << 30)] == ["", "--dtype bfloat16", ""]
    assert "a machine with more memory" in doctor.what_fits(cpu, 2 << 30)[1]["helps"]
    assert doctor.what_fits(None, 1) == doctor.what_fits(gpu, None) == []
    line = doctor._fitting(tight[1], gpu)
    assert "SDXL at 1024 x 1024 in bfloat16: 8.5 GiB needed" in line and "no; --offload model would" in line


def test_needs_are_those_of_models_without_weights():
    figures = json.loads((ROOT / "benchmarks" / "results" / "memory.json").read_text())
    for need in NEEDS:
        counted = figures[need.name]
        assert need.parameters == counted["parameters"]
        alive = counted["bytes_alive_in_half"]
        assert max(alive["step"], alive["decode"]) < need.working
