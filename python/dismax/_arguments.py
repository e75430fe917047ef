"""Arguments that are one thing or several."""

import os
from collections.abc import Iterable


def words(given: "str | Iterable[str]") -> list[str]:
    """Words, also several in a text with commas between them, as the command takes them."""
    given = [given] if isinstance(given, str) else given
    return [word for text in given for word in text.split(",")]


def paths(given: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> list[str]:
    """A path, or several."""
    given = [given] if isinstance(given, str | os.PathLike) else given
    return [os.fspath(path) for path in given]
