"""What a client is told of an error: one sentence, without places of the server."""

import re

from personagen.devices import is_out_of_memory, out_of_memory
from recsys.errors import shown

STATUS = {2: 400, 3: 400, 4: 500, 5: 503}
"""HTTP status of an error by its exit code: settings, data, model, resources."""
PLACES = re.compile(r"(?:~|\.{1,2})?/(?:[^\s/'\",;:()]+/)*([^\s/'\",;:()]*)")
UNSAID = "the server failed at this, and its log says why; ask its operator"


def public(error: Exception) -> str:
    """Say an error that a client can act on; of paths the last part stays. Others go to the log alone."""
    if is_out_of_memory(error):
        error = out_of_memory(error)
    if getattr(error, "exit_code", None) is None:
        return UNSAID
    return shown(PLACES.sub(lambda found: found[1] or "a folder", str(error)), most=500)


def status_of(error: Exception) -> int:
    """Give the HTTP status of an error."""
    return STATUS.get(getattr(error, "exit_code", 0), 500)
