"""Let BlazePose (Bazarevsky et al., 2020, arXiv 2006.10204) mark the joints in photos, for our small network to learn.

    pip install mediapipe==0.10.21          # in an environment of its own: it wants another numpy than we do
    python personagen/pretrain/joint_labels.py PHOTOS joints.json

Writes, by the name of each photo (*.jpg), thirteen joints in the order of `person.joints.Joint`: column and row as
shares of the photo, and how visible BlazePose thinks it is. Photos without a person are left out.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

OF_BLAZEPOSE = (0, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)


def main(photos: Path, out: Path) -> None:
    """Mark every photo, then write the file."""
    import mediapipe  # pyrefly: ignore[missing-import]

    finder: Any = mediapipe.solutions.pose.Pose(static_image_mode=True, min_detection_confidence=0.3)
    joints = {}
    for file in sorted(photos.glob("*.jpg")):
        found = finder.process(np.asarray(Image.open(file).convert("RGB"))).pose_landmarks
        if found is not None:
            marks = [found.landmark[i] for i in OF_BLAZEPOSE]
            joints[file.stem] = [[round(m.x, 4), round(m.y, 4), round(m.visibility, 3)] for m in marks]
    out.write_text(json.dumps(joints) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
