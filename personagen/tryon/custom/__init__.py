"""What lets plain diffusers load a try-on folder: DiffusionPipeline.from_pretrained(folder, custom_pipeline=CUSTOM)."""

import shutil
from pathlib import Path

CUSTOM = str(Path(__file__).parent)
"""For folders that have no pipeline.py of their own; give trust_remote_code=True as well."""


def leave_code(folder: Path) -> Path:
    """Copy pipeline.py into a saved try-on folder, so that the folder itself can be the custom pipeline; return it."""
    shutil.copyfile(Path(CUSTOM) / "pipeline.py", folder / "pipeline.py")
    return folder
