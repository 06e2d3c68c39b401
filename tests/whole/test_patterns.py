"""Every regular expression of the package takes work that grows with the text and not faster.

Work is counted and not timed: :func:`work` matches as Python's ``re`` does, by backtracking, and
counts the characters that it looks at.  Texts that could be slow are made from the pattern itself:
its beginning, a part of it repeated, and an end that does not match.
"""

from __future__ import annotations

import ast
import importlib
import re
import re._constants as sre
import re._parser as parser
import string
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lhe_text import document, event
from milinfer.exceptions import LHEError
from milinfer.io.lhe import LHEReader
from sources import tree_of

PACKAGE = Path(find_spec("milinfer").origin).parent
FUNCTIONS = {"compile", "sub", "subn", "search", "match", "fullmatch", "findall", "finditer",
             "split"}  # fmt: skip
ANCHORED = {"match", "fullmatch"}
REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}
SHORT, LONG = 12, 48
MOST = 8  # times the work for four times the text: 4 if it is linear, 16 if it is quadratic


class Pattern(NamedTuple):
    """A regular expression of the package, and whether it is only tried at one place."""

    place: str
    text: str
    flags: int
    anchored: bool


class TooMuchWorkError(Exception):
    """The count has gone beyond any bound."""


def value(node: ast.expr, module: Any) -> str:
    """The text of a pattern; parts that are only known when it is used are the letter a."""
    if isinstance(node, ast.Constant):
        return node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(value(part, module) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return value(node.value, module)
    if isinstance(node, ast.Name):
        return getattr(module, node.id)
    if isinstance(node, ast.BinOp):
        return value(node.left, module) + value(node.right, module)
    assert ast.unparse(node).startswith("re.escape("), ast.unparse(node)
    return "a"


# Every run of tests waits for the list of patterns: only what can be in it is parsed, and once.
@cache
def texts() -> dict[Path, str]:
    return {path: path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def files_with(name: str) -> list[Path]:
    return [path for path, text in texts().items() if re.search(rf"\b{name}\b", text)]


def uses(name: str, path: Path) -> set[str]:
    """Methods by which a pattern of a file is used; "other" where it is handed on."""
    return {
        getattr(node, "attr", "other")
        for reader in ([path] if name.startswith("_") else files_with(name))
        for node in ast.walk(tree_of(reader))
        for child in ast.iter_child_nodes(node)
        if isinstance(child, ast.Name) and child.id == name and isinstance(child.ctx, ast.Load)
    }


def patterns() -> Iterator[Pattern]:
    for path in files_with("re"):
        relative = path.relative_to(PACKAGE.parent).with_suffix("")
        for statement in ast.walk(tree_of(path)):
            for node in ast.iter_child_nodes(statement):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                if node.func.attr not in FUNCTIONS or ast.unparse(node.func.value) != "re":
                    continue
                module = importlib.import_module(".".join(relative.parts))
                flags = 0
                for argument in [*node.args[1:], *(k.value for k in node.keywords)]:
                    name = ast.unparse(argument)
                    flags |= getattr(re, name[3:]) if re.fullmatch(r"re\.[A-Z]+", name) else 0
                how = {node.func.attr}
                if node.func.attr == "compile":
                    target = getattr(statement, "target", None)
                    targets = [target] if target else getattr(statement, "targets", [])
                    how = uses(ast.unparse(targets[0]), path) if targets else {"other"}
                place = f"{relative}:{node.lineno}"
                yield Pattern(
                    place, value(node.args[0], module), flags, bool(how) and how <= ANCHORED
                )


def accepts(op: Any, argument: Any, letter: str, flags: int) -> bool:
    """Whether a piece of a pattern that stands for one character accepts this one."""
    if op is sre.LITERAL:
        return ord(letter) == argument
    if op is sre.NOT_LITERAL:
        return ord(letter) != argument
    if op is sre.ANY:
        return letter != "\n" or bool(flags & re.DOTALL)
    if op is sre.RANGE:
        return argument[0] <= ord(letter) <= argument[1]
    if op is sre.CATEGORY:
        shorthand = {
            sre.CATEGORY_SPACE: r"\s", sre.CATEGORY_NOT_SPACE: r"\S", sre.CATEGORY_DIGIT: r"\d",
            sre.CATEGORY_NOT_DIGIT: r"\D", sre.CATEGORY_WORD: r"\w", sre.CATEGORY_NOT_WORD: r"\W",
        }[argument]  # fmt: skip
        return re.fullmatch(shorthand, letter, re.ASCII) is not None
    assert op is sre.IN, op
    negated = argument[0][0] is sre.NEGATE
    return negated != any(accepts(o, a, letter, flags) for o, a in argument[negated:])


ONE = {sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN}
Continue = Callable[[int], int | None]


class Accepted(dict[str, bool]):
    """Whether a piece that stands for one character accepts a letter; looked up once for each."""

    def __init__(self, op: Any, argument: Any, flags: int) -> None:
        super().__init__()
        self.piece = op, argument, flags

    def __missing__(self, letter: str) -> bool:
        op, argument, flags = self.piece
        self[letter] = result = accepts(op, argument, letter, flags)
        return result


def prepared(nodes: Any, flags: int) -> list[tuple[Any, Any]]:
    """A parsed pattern as plain lists, which are matched a million times."""
    plain: list[tuple[Any, Any]] = []
    for op, argument in nodes:
        if op in ONE:
            plain.append((sre.IN, Accepted(op, argument, flags)))
        elif op in REPEATS:
            least, most, inner = argument
            plain.append((sre.MAX_REPEAT, (least, most, prepared(inner, flags))))
        elif op is sre.SUBPATTERN:
            plain.append((op, prepared(argument[3], flags)))
        elif op is sre.BRANCH:
            plain.append((op, [prepared(branch, flags) for branch in argument[1]]))
        elif op in (sre.ASSERT, sre.ASSERT_NOT):
            plain.append((op, (argument[0], prepared(argument[1], flags))))
        else:
            assert op is sre.AT, op
            plain.append((op, argument))
    return plain


class Matcher:
    """Matches by backtracking, and counts."""

    def __init__(self, pattern: Pattern) -> None:
        self.tree = list(parser.parse(pattern.text, pattern.flags))
        self.nodes = prepared(self.tree, pattern.flags)
        self.flags = pattern.flags
        self.anchored = pattern.anchored
        self.count = 0

    def work(self, text: str, most: int = 1 << 16) -> int:
        """Characters looked at to find all matches in a text."""
        self.count, self.most, self.text = 0, most, text
        start = 0
        while start <= len(text):
            end = self.match(self.nodes, 0, start, lambda at: at)
            if self.anchored:
                break
            start = start + 1 if end is None or end == start else end
        return self.count

    def look(self) -> None:
        self.count += 1
        if self.count > self.most:
            raise TooMuchWorkError

    def match(self, nodes: list[Any], i: int, at: int, then: Continue) -> int | None:
        self.look()
        if i == len(nodes):
            return then(at)
        op, argument = nodes[i]

        def rest(end: int) -> int | None:
            return self.match(nodes, i + 1, end, then)

        if op is sre.IN:
            return rest(at + 1) if at < len(self.text) and argument[self.text[at]] else None
        if op is sre.MAX_REPEAT:
            return self.repeat(argument, at, rest)
        if op is sre.SUBPATTERN:
            return self.match(argument, 0, at, rest)
        if op is sre.BRANCH:
            ends = (self.match(branch, 0, at, rest) for branch in argument)
            return next((end for end in ends if end is not None), None)
        if op is sre.AT:
            return rest(at) if self.is_at(argument, at) else None
        assert op in (sre.ASSERT, sre.ASSERT_NOT), op
        direction, inner = argument
        # all that look behind here look at one character
        begin = at if direction > 0 else at - 1
        matched = begin >= 0 and self.match(inner, 0, begin, lambda end: end) is not None
        return rest(at) if matched == (op is sre.ASSERT) else None

    def is_at(self, where: Any, at: int) -> bool:
        if where is sre.AT_BEGINNING:
            lines = bool(self.flags & re.MULTILINE)
            return at == 0 or (lines and self.text[at - 1] == "\n")
        if where is sre.AT_END:
            lines = bool(self.flags & re.MULTILINE)
            return self.text[at:] in ("", "\n") or (lines and self.text[at] == "\n")
        assert where is sre.AT_BOUNDARY, where
        ends = [0 <= k < len(self.text) and re.match(r"\w", self.text[k]) for k in (at - 1, at)]
        return bool(ends[0]) != bool(ends[1])

    def repeat(self, argument: Any, at: int, rest: Continue) -> int | None:
        least, most, nodes = argument
        if len(nodes) == 1 and nodes[0][0] is sre.IN:
            accepted, end = nodes[0][1], at
            while end < len(self.text) and end - at < most:
                self.look()
                if not accepted[self.text[end]]:
                    break
                end += 1
            for stop in range(end, at + least - 1, -1):
                self.look()
                if (result := rest(stop)) is not None:
                    return result
            return None

        def more(begin: int, n: int) -> int | None:
            if n < most:

                def again(end: int) -> int | None:
                    return more(end, n + 1) if end > begin else None

                if (result := self.match(nodes, 0, begin, again)) is not None:
                    return result
            return rest(begin) if n >= least else None

        return more(at, 0)


def letters(nodes: Any, flags: int) -> set[str]:
    """Characters that a pattern tells apart: its literals, and some that its classes accept."""
    alphabet = set()
    for op, argument in nodes:
        if op in (sre.LITERAL, sre.NOT_LITERAL):
            alphabet.add(chr(argument))
        elif op is sre.IN:
            alphabet |= letters([pair for pair in argument if pair[0] is not sre.NEGATE], flags)
        elif op is sre.RANGE:
            alphabet.add(chr(argument[0]))
        elif op is sre.CATEGORY:
            alphabet |= {c for c in "\n 0a" if accepts(op, argument, c, flags)}
        elif op is sre.BRANCH:
            alphabet = alphabet.union(*(letters(branch, flags) for branch in argument[1]))
        elif op in (*REPEATS, sre.SUBPATTERN, sre.ASSERT, sre.ASSERT_NOT):
            alphabet |= letters(argument[-1], flags)
    return alphabet


def sample(nodes: Any, flags: int) -> list[str]:
    """Parts of one text that matches, in order; a part for each run of literals."""
    parts: list[str] = []
    run = False
    for op, argument in nodes:
        literal = op is sre.LITERAL
        if literal and run:
            parts[-1] += chr(argument)
        elif op in ONE:
            parts.append(next(c for c in "a \n" + string.printable + "\x80"
                              if accepts(op, argument, c, flags)))  # fmt: skip
        elif op is sre.BRANCH:
            parts += sample(argument[1][0], flags)
        elif op in (*REPEATS, sre.SUBPATTERN, sre.ASSERT):
            parts += sample(argument[-1], flags)
        run = literal
    return parts


def attacks(matcher: Matcher) -> Iterator[tuple[str, str, str]]:
    parts = sample(matcher.tree, matcher.flags)
    alphabet = sorted(letters(matcher.tree, matcher.flags) | {"\n", " "})
    starts = ["".join(parts[:i]) for i in range(len(parts))]
    pumps = ["".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)]
    for begin, pump in product(dict.fromkeys(starts), dict.fromkeys([*pumps, *alphabet])):
        for end in dict.fromkeys(["", "\x01", "".join(parts[:1])[:1], ">"]):
            yield begin, pump, end


def slow_text(pattern: Pattern) -> tuple[str, str, str] | None:
    """Beginning, repeat and end of a text whose work grows faster than it does, if there is one."""
    matcher = Matcher(pattern)
    for begin, pump, end in attacks(matcher):
        try:
            short, long = (matcher.work(begin + n * pump + end) for n in (SHORT, LONG))
        except TooMuchWorkError:
            return begin, pump, end
        if long > MOST * short:
            return begin, pump, end
    return None


@cache
def all_patterns() -> list[Pattern]:
    """Every pattern of the package; found once, and not while the tests are collected."""
    return list(patterns())


@pytest.fixture(autouse=True, scope="module")
def _deep():
    """Repeats of groups are calls inside calls here."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    ("text", "flags", "is_slow"),
    [
        (r"^\s*#.*$", re.MULTILINE, True),
        (r"^[^\S\n]*#.*$", re.MULTILINE, False),
        (r"<event(?=[\s>])[^>]*>", 0, True),
        (r"<event(?=[\s>])[^<>]*>", 0, False),
        (r">([^<>]*[_\x80-\xff][^<>]*)<", 0, True),
        (r">[^<>]*<", 0, False),
        (r"<!\[CDATA\[(.*)\]\]>", re.DOTALL, True),
        (r"(?:[ab]*c?)*d", 0, True),
        (r"(a|a)*b", 0, True),
        (r"\d+\s", 0, True),
        (r"(?<!\d)\d+\s", 0, False),
        (r"<[^<>]*>(?:[ \t\n]*<[^<>]*>)*", 0, False),
    ],
)  # fmt: skip
def test_the_count_tells_slow_patterns_from_others(text, flags, is_slow):
    assert (slow_text(Pattern("here", text, flags, anchored=False)) is not None) == is_slow


def test_the_count_finds_the_matches_of_re():
    for pattern in all_patterns():
        compiled = re.compile(pattern.text, pattern.flags | re.ASCII)
        matcher = Matcher(pattern)
        for begin, pump, end in list(attacks(matcher))[::7]:
            matcher.text, matcher.count, matcher.most = begin + 3 * pump + end, 0, 1 << 16
            match = compiled.match(matcher.text)
            expected = None if match is None else match.end()
            assert matcher.match(matcher.nodes, 0, 0, lambda at: at) == expected, pattern


def test_all_patterns_are_seen():
    assert len(all_patterns()) >= 35
    calls = sum(
        len(re.findall(rf"\bre\.(?:{'|'.join(FUNCTIONS)})\(", path.read_text("utf-8")))
        for path in PACKAGE.rglob("*.py")
    )
    assert len(all_patterns()) == calls


def test_work_grows_with_the_text_and_not_faster():
    slow = {pattern.place: slow_text(pattern) for pattern in all_patterns()}
    assert {place: text for place, text in slow.items() if text is not None} == {}


def test_a_file_of_many_blank_lines_is_read(tmp_path):
    """Half a minute when blank lines were searched from each of them; 1 MB took ten minutes."""
    gap = "<eventgroup>" + "\n" * 200_000
    file = tmp_path / "a.lhe"
    file.write_text(document(event(), gap, event(), "</eventgroup>\n"))
    with LHEReader(file) as reader:
        assert sum(len(part.counts) for part in reader.columns(1000)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "<event " * 100_000,
        "<eventgroup " * 60_000,
        "<LesHouchesEvents " * 50_000,
        event(after="<rwgt><wgt id='a'> 1 ></wgt>" + "_" * 200_000 + "></rwgt>\n"),
    ],
    ids=["event", "eventgroup", "root", "weights"],
)
def test_damaged_files_of_one_repeated_text_are_refused(tmp_path, text):
    file = tmp_path / "a.lhe"
    whole = document(event(), text, event())
    file.write_text(text + whole if text.startswith("<Les") else whole)
    with pytest.raises(LHEError, match=r"a\.lhe"), LHEReader(file) as reader:
        list(reader.columns(1000))
