"""Which columns hold user, item, time and rating: named by the caller, or found by the names that are usual.

Nothing heavy is imported here: the settings of every command that reads interactions hold `Columns`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import DataError

USUAL = {
    "user": (
        "user", "userid", "reviewerid", "customerid", "customer", "uid", "memberid", "accountid", "buyerid", "clientid",
        "profileid", "personid", "visitorid", "sessionid", "session",
    ),
    "item": (
        "item", "itemid", "parentasin", "asin", "productid", "product", "movieid", "articleid", "sku", "isbn", "iid",
        "bookid", "gameid", "trackid", "songid", "artistid", "videoid", "newsid", "recipeid", "businessid", "stockcode",
        "contentid",
    ),
    "time": (
        "timestamp", "time", "ts", "datetime", "unixreviewtime", "eventtime", "eventtimestamp", "date", "createdat",
        "tdat", "purchasedate", "orderdate", "invoicedate", "eventdate", "reviewdate", "unixtime", "timems",
    ),
    "rating": ("rating", "overall", "stars", "score", "ratings"),
}  # fmt: skip
"""The usual names of each column, in lower case without _, - and blanks; where a file has several, the first wins."""


@dataclass(frozen=True)
class Columns:
    """Names of a file's columns, or their numbers from 1 on; what is left out is found by the usual names."""

    user: str | None = None
    """Column of the users; none: found by the usual names (user, user_id, userId, reviewerID, customer_id, ...)."""
    item: str | None = None
    """Column of the items; none: found by the usual names (item, item_id, movieId, parent_asin, asin, sku, ...)."""
    time: str | None = None
    """Column of the time; none: found by the usual names (timestamp, time, date, ...); '': take rows in order."""
    rating: str | None = None
    """Column that --min_rating reads; none: found by the usual names (rating, overall, stars, score)."""


@dataclass(frozen=True)
class Places:
    """Where the columns are, counted from 0; time None: rows are in time order; rating None: none is asked for."""

    user: int
    item: int
    time: int | None = None
    rating: int | None = None


def plain(name: str) -> str:
    """Bring a column's name to the form in which usual names are compared: `User ID` and `user_id` are `userid`."""
    return name.strip().lower().replace("_", "").replace("-", "").replace(" ", "")


def role(name: str) -> str | None:
    """Return what a column of that name usually holds: user, item, time or rating."""
    return next((role for role, names in USUAL.items() if plain(name) in names), None)


def find_columns(
    name: str, found: Sequence[str], wanted: Columns, *, is_time: Callable[[int], bool], rating: bool = False
) -> Places:
    """Find the columns of the file `name` among those `found` in it.

    is_time: tells of a column, by its number from 0, whether its first rows can be read as time. rating: whether a
    rating is needed.

    Raises:
        DataError: a column is missing, there twice, or could be the time under an unusual name.
    """
    user, item = (_needed(name, found, role, getattr(wanted, role)) for role in ("user", "item"))
    if user == item:
        raise DataError(
            f"{name}: user and item are both column {quoted(found[user])}; it has {listed(found)}. Name one of them "
            "with --columns.user or --columns.item"
        )
    time = _time(name, found, wanted.time, {user, item}, is_time)
    return Places(user, item, time, _needed(name, found, "rating", wanted.rating) if rating else None)


def _needed(name: str, found: Sequence[str], role: str, given: str | None) -> int:
    if given is not None:
        return _named(name, found, role, given)
    for usual in USUAL[role]:
        if any(plain(column) == usual for column in found):
            return _named(name, found, role, usual)
    if len(found) == 1:
        raise DataError(
            f"{name} has a single column, {quoted(found[0])}; separate its cells by commas, semicolons, tabs, bars, :: "
            "or blanks"
        )
    raise DataError(f"{name} has no column that is known as the {role}; it has {listed(found)}. Name it with "
                    f"{_switch(role)}")  # fmt: skip


def _named(name: str, found: Sequence[str], role: str, given: str) -> int:
    """Return the one column called `given`: as it is written, else but for case and _, else by its number."""
    exact = [at for at, column in enumerate(found) if column == given]
    matching = exact or [at for at, column in enumerate(found) if plain(column) == plain(given)]
    if len(matching) > 1:
        numbers = " or ".join(str(at + 1) for at in matching)
        raise DataError(
            f"{name} has {len(matching)} columns called {quoted(found[matching[0]])} among {listed(found)}; name the "
            f"one that is meant by its number, --columns.{role} {numbers}"
        )
    if matching:
        return matching[0]
    if given.isascii() and given.isdecimal() and 1 <= int(given[:9]) <= len(found):
        return int(given) - 1
    raise DataError(
        f"{name} has no column {quoted(given)}; it has {listed(found)}. Name the {role} with {_switch(role)}"
    )


def _time(
    name: str, found: Sequence[str], given: str | None, taken: set[int], is_time: Callable[[int], bool]
) -> int | None:
    if given == "":
        return None
    if given is not None:
        return _named(name, found, "time", given)
    usual = [word for word in USUAL["time"] if any(plain(column) == word for column in found)]
    places = [_named(name, found, "time", word) for word in usual]
    if places:
        return next((place for place in places if is_time(place)), places[0])
    maybe = next((at for at in range(len(found)) if at not in taken and not role(found[at]) and is_time(at)), None)
    if maybe is not None:
        could = quoted(found[maybe])
        raise DataError(
            f"{name} has no column that is known as the time, and {could} could be it; it has {listed(found)}. Give "
            f"--columns.time {could}, or --columns.time '' if rows are in time order"
        )
    return None


def _switch(role: str) -> str:
    return f"--columns.{role} NAME, or Columns({role}=NAME) in Python"


def listed(names: Sequence[str], most: int = 20) -> str:
    """List names for a message: 'a', 'b' and 3 more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(quoted, names[:most])) + more


def quoted(text: str, most: int = 40) -> str:
    """Quote a text for a message, and no more of it than `most` letters."""
    return repr(text if len(text) <= most else text[:most] + "…")
