"""Models on the hub by their id: from this machine's cache, or, only where asked, over the network."""

import re
from pathlib import Path

from recsys.errors import ModelError

ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
NEEDED = ["*.json", "*.txt", "*/*.json", "*/*.txt", "*/*.safetensors"]
USELESS = ["*.fp16.*", "*.non_ema.*", "*onnx*", "*openvino*", "*flax*"]


def is_hub_id(name: str | Path) -> bool:
    """Tell whether a name could be a hub's id, owner/model."""
    return ID.fullmatch(str(name)) is not None and Path(name).suffix != ".safetensors"


def from_hub(name: str | Path, *, allow_download: bool) -> Path:
    """Return the folder in which the hub's cache keeps a model; allow_download: fetch what is not there yet.

    Raises:
        ModelError: it is not here and may not, or cannot, be fetched.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            huggingface_hub.snapshot_download(
                str(name), local_files_only=not allow_download, allow_patterns=NEEDED, ignore_patterns=USELESS
            )
        )
    except LocalEntryNotFoundError as error:
        if not allow_download:
            raise ModelError(
                f"there is no model at {name}, nor {name} in the hub's cache; give a folder in diffusers' layout or a "
                ".safetensors file, or add --allow_download true to fetch it"
            ) from error
        raise ModelError(
            f"{name} cannot be fetched: the hub does not answer; check the network (and HF_HUB_OFFLINE), or give a "
            "folder on this machine"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{name} cannot be fetched ({reason}); check the name and the network, or give a folder on this machine"
        ) from error
