"""The notebook's cells run in their order, from an empty folder."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "tour.ipynb"


@pytest.mark.slow
def test_the_tour_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    best, history, body = names["best"], names["history"], names["person"].body
    assert best in names["ranking"].items and best not in history
    assert names["worn"].size == names["person"].image.size
    assert names["worn"].tobytes() != names["person"].image.tobytes()
    assert names["scene"].size == (144, 192)
    assert body.mask(names["garment"].kind).any()
    assert f"{best} " in capsys.readouterr().out


def test_it_is_kept_without_outputs():
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
