"""What commands do with a try-on that is not to be trusted."""

from collections.abc import Mapping

from personagen.tryon.trust import Judge, Trust
from recsys.errors import DataError

from ..progress import note


def judge_of(person: str, garments: Mapping[str, str], *, force: bool) -> Judge:
    """Refuse a result that is not to be trusted before it is painted, or say so where it is forced.

    person: the file of the photo; garments: the files by their kind. What is returned raises DataError.
    """

    def judge(trust: Trust) -> None:
        if not trust.low:
            return
        told = trust.because(person, garments[trust.kind])
        if not force:
            raise DataError(f"this try-on would not be believed, and nothing is written; {told}; --force true writes "
                            "it all the same")  # fmt: skip
        note(f"warning: {told}")

    return judge
