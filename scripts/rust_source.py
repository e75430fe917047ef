"""Reads Rust source as far as `check_rooms.py` needs it: code without comments and tests, string literals, and `use` trees."""

import re
from dataclasses import dataclass

# A comment, a string or a character; lifetimes such as 'a are none of these.
TOKEN = re.compile(
    r"//[^\n]*"
    r"|/\*.*?\*/"
    r'|\bb?r(?P<hashes>#*)".*?"(?P=hashes)'
    r'|\bb?"(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*"'
    r"|'(?:[^'\\\n]|\\(?:[^u\n]|u\{[0-9a-fA-F]+\}|x..))'",
    re.S,
)
USE = re.compile(r"(?:(?P<visibility>pub(?:\([^)]*\))?)\s+)?\buse\s+(?P<tree>[^;]+);")
TEST_ATTRIBUTE = re.compile(r"#\[cfg\(test\)\]")


@dataclass(frozen=True)
class Import:
    """One leaf of a `use` tree: the path, the name it has here, and whether it is visible from outside."""

    path: tuple[str, ...]
    name: str
    public: bool


def blank(text: str) -> str:
    """The same number of lines without anything on them."""
    return "".join(character if character == "\n" else " " for character in text)


def without_comments(text: str) -> str:
    """The source without comments; what is left keeps its place."""
    return TOKEN.sub(lambda token: blank(token[0]) if token[0].startswith(("//", "/*")) else token[0], text)


def without_strings(text: str) -> str:
    """The source without the contents of strings and characters."""
    return TOKEN.sub(lambda token: blank(token[0]), text)


def end_of_item(text: str, start: int) -> int:
    """Where the item that begins at `start` ends: behind its `;` or its closing brace."""
    depth = 0
    for position in range(start, len(text)):
        if text[position] in "{([":
            depth += 1
        elif text[position] in "})]":
            depth -= 1
            if depth == 0 and text[position] == "}":
                return position + 1
        elif text[position] == ";" and depth == 0:
            return position + 1
    return len(text)


def without_tests(text: str) -> str:
    """The source, free of comments, without items that are compiled for tests only."""
    plain = without_strings(text)
    while match := TEST_ATTRIBUTE.search(plain):
        end = end_of_item(plain, match.end())
        text = text[: match.start()] + blank(text[match.start() : end]) + text[end:]
        plain = plain[: match.start()] + blank(plain[match.start() : end]) + plain[end:]
    return text


def strings(text: str) -> list[tuple[int, str]]:
    """String literals as (line, literal)."""
    found = []
    for token in TOKEN.finditer(text):
        if token[0].endswith('"') or token[0].endswith("#"):
            found.append((text.count("\n", 0, token.start()) + 1, token[0]))
    return found


def leaves(tree: str) -> list[tuple[tuple[str, ...], str]]:
    """The paths of a `use` tree, each with the name it is given."""
    tree = " ".join(tree.split())
    if "{" not in tree:
        path, _, alias = tree.partition(" as ")
        segments = tuple(segment.strip() for segment in path.split("::") if segment.strip())
        if segments[-1] == "self":
            segments = segments[:-1]
        return [(segments, alias.strip() or segments[-1])]
    before, _, rest = tree.partition("{")
    prefix = tuple(segment.strip() for segment in before.split("::") if segment.strip())
    inside, depth, part, parts = rest[: rest.rindex("}")], 0, "", []
    for character in inside:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += character
    found = []
    for part in filter(str.strip, [*parts, part]):
        if part.strip().split(" as ")[0] == "self":
            found.append((prefix, part.partition(" as ")[2].strip() or prefix[-1]))
        else:
            found += [(prefix + path, name) for path, name in leaves(part)]
    return found


def imports(text: str) -> list[Import]:
    """All `use` declarations of a source without comments and strings."""
    return [
        Import(path, name, use["visibility"] is not None) for use in USE.finditer(text) for path, name in leaves(use["tree"])
    ]


def without_imports(text: str) -> str:
    """The source without its `use` declarations."""
    return USE.sub(lambda use: blank(use[0]), text)
