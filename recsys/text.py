"""Read text files as people save them: UTF-8 with or without a byte order mark, or UTF-16."""

from pathlib import Path

from .errors import DataError


def encoding_of(data: bytes) -> str:
    """Name the encoding of a text from its first bytes: "utf-8-sig", "utf-16", "utf-16-le" or "utf-16-be"."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(data) >= 8:
        for encoding, zeros in (("utf-16-le", data[1:400:2]), ("utf-16-be", data[0:400:2])):
            if zeros.count(0) > 0.7 * len(zeros):
                return encoding
    return "utf-8-sig"


def read_text(path: str | Path) -> str:
    """Read a text file that a person wrote; lines end in a newline, whatever they ended in.

    Raises:
        DataError: it cannot be read, or is neither UTF-8 nor UTF-16.
    """
    try:
        data = Path(path).read_bytes()
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is neither UTF-8 nor UTF-16 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
