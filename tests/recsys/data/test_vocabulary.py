"""Items are found by their names as text, and a file's cases are renumbered without moving one to another item."""

import numpy as np
import pytest

from recsys.data.splits import renumber
from recsys.data.vocabulary import Vocabulary
from recsys.errors import DataError
from recsys.types import Cases


def test_names_are_text_and_007_is_not_7():
    items = Vocabulary(("", "007", "7", "ä b"))
    assert len(items) == 3
    assert items.numbers(("", "7", "007", "0007", "ä b")).tolist() == [0, 2, 1, 0, 3]
    assert Vocabulary.numbered(3).names == ("", "1", "2", "3")


@pytest.mark.parametrize(
    ("names", "message"),
    [((), "''"), (("a", "b"), "''"), (("", "a", "a"), "'a'"), (("", "a", ""), "item 2"), (("", "a", 7), "item 2")],
)
def test_names_that_name_nothing_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        Vocabulary(names)


def test_unknown_items_leave_histories_and_cases_without_a_target_or_a_history_go():
    def rows(*lists: list[int]) -> list[np.ndarray]:
        return [np.array(items, np.int64) for items in lists]

    cases = Cases(
        rows([1, 2, 3], [1, 3], [2], [], [2, 1]),
        rows([3], [2], [1], [1], [2, 3]),
        rows([2], [1], [3], [], [1]),
    )
    found, kept = renumber(cases, np.array([0, 9, 0, 7]))  # item 2 is unknown
    assert kept.tolist() == [0, 3, 4]  # of case 1 the target is unknown, of case 2 the history; case 3 had none
    assert [row.tolist() for row in found.histories] == [[9, 7], [], [9]]
    assert [row.tolist() for row in found.targets] == [[7], [9], [7]]
    assert found.seen is not None and [row.tolist() for row in found.seen] == [[], [], [9]]
