"""Codebook files as plain data: YAML read strictly, its values read with their places, and YAML written readably.

Which keys there are and what they mean is no matter of this module; see `tl_classifier.codebook`.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from yaml.error import Mark
from yaml.reader import ReaderError

from tl_classifier.errors import CodebookError

MAX_BYTES = 1024 * 1024
"""Size of the largest file that is read; a codebook of a hundred codes takes about 100,000 bytes."""

_TAG = "tag:yaml.org,2002:"

_UNRESOLVED = {_TAG + kind for kind in ("timestamp", "merge", "value")}
"""What a codebook has no use for and therefore reads as text: dates (a version may look like one), << and =."""

# How PyYAML begins to say what is wrong, and how to say it to someone who edits the file by hand.
_EXPLANATIONS = (
    (
        "mapping values are not allowed",
        "a colon stands where none can; put a text that holds a colon in quotes, and check the indentation",
    ),
    ("found character '\\t'", "there is a tab; indent with spaces"),
    ("found character", "a text cannot begin with this sign; put it in quotes"),
    ("found unexpected end of stream", "a quotation mark is opened and never closed"),
    ("found unknown escape", "a \\ means something else inside double quotes; use single quotes"),
    ("could not find expected ':'", "there is a key without a colon, or a text that is not indented"),
    (
        "expected <block end>",
        "the line does not fit what stands before it; check the indentation, and put the whole of a text in quotes "
        "that has them in it",
    ),
    ("expected ',' or", "a bracket is opened and not closed"),
    ("expected the node content", "a bracket is opened and not closed"),
    ("but found another document", "a second document begins; a file holds one codebook"),
    ("found unhashable key", "a list or mapping stands where a key should"),
)


def read(path: Path) -> tuple[object, list[str]]:
    """Read a file of at most `MAX_BYTES` as YAML.

    Aliases (``*name``) are refused, because a few lines of them can stand for gigabytes; so are tags (``!name``), and
    a key that is given twice, because YAML would silently keep the last. Dates stay texts.

    Returns:
        The data, and the problems met, each one clause that says where. The data are None where the file could not
        be read as YAML at all; repeated keys alone leave the rest fit to be looked at.
    """
    try:
        if path.is_dir():
            return None, ["this is a folder, not a file"]
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None, ["the file does not exist"]
    except (OSError, ValueError) as error:
        return None, [f"the file cannot be read ({_reason(error)})"]
    if len(content) > MAX_BYTES:
        return None, [f"the file is larger than {MAX_BYTES:,} bytes, too large for a codebook"]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, [f"line {line}: this is not UTF-8 text; save the file with the encoding UTF-8"]
    return _parse(text)


def write(path: Path, data: dict[str, Any]) -> None:
    """Write `data` as YAML: block style, keys in their order, longer texts folded.

    Raises:
        CodebookError: if the file cannot be written.
    """
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    write_beside(path, text.encode("utf-8"))


def write_beside(path: Path, content: bytes) -> None:
    """Write a file such that `path` holds either all of `content` or what it held before.

    Raises:
        CodebookError: if the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise CodebookError(f"{path} cannot be written ({_reason(error)}).") from error


def _reason(error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return reason[:1].lower() + reason[1:]


def _parse(text: str) -> tuple[object, list[str]]:
    try:
        loader = _Loader(text)
        data = loader.get_single_data()
    except ReaderError as error:
        line, column = text.count("\n", 0, error.position), error.position - text.rfind("\n", 0, error.position)
        return None, [f"line {line + 1}, column {column}: there is a control character; is this a text file?"]
    except yaml.MarkedYAMLError as error:
        return None, [_place(error.problem_mark or error.context_mark) + _explain(error.problem or "")]
    except _Refused as refused:
        return None, [_place(refused.mark) + refused.problem]
    except RecursionError:
        return None, ["lists and mappings are nested too deeply for a codebook"]
    if data is None:
        return None, ["the file holds nothing"]
    return data, loader.repeated


def _place(mark: Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _explain(problem: str) -> str:
    for beginning, explanation in _EXPLANATIONS:
        if problem.startswith(beginning):
            return explanation
    return f"this is not valid YAML: {problem}"


class _Refused(Exception):
    """Sound YAML that a codebook does without."""

    def __init__(self, problem: str, mark: Mark) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """Plain data only, without aliases and tags, and a note of each key that is given twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as in the base class)
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _UNRESOLVED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise _Refused("a text cannot begin with *; put it in quotes (aliases are not allowed)", event.start_mark)
        if event.tag is not None:
            raise _Refused("a text cannot begin with !; put it in quotes (tags are not allowed)", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    place = _place(key.start_mark)
                    self.repeated.append(f"{place}the key {shown(key.value)} is given a second time")
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except ValueError as error:  # more digits than Python reads; "0x_" also looks like a number to PyYAML
            mark = cast("Mark", node.start_mark)
            raise _Refused("a number that cannot be read; put it in quotes if it is a text", mark) from error


class _Dumper(yaml.SafeDumper):
    """Indents lists under their keys, folds long texts, and writes a text of several lines line by line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = "|"
    elif len(text) > _FOLDED:
        style = ">"
    return dumper.represent_scalar(_TAG + "str", text, style=style)


_FOLDED = 80  # a text of more characters stands folded below its key, where it needs no quotes

_Dumper.add_representer(str, _represent_text)


class Entry:
    """One mapping of the file while it is read: gives values of the right type, and notes what is wrong with them.

    Args:
        data: What stands in the file.
        place: Where, for messages; empty for the codebook itself.
        problems: Problems are added to this list.
        required: Keys that must be there.
        optional: Keys that may be.
    """

    def __init__(
        self,
        data: Mapping[object, object],
        place: str,
        problems: list[str],
        *,
        required: Sequence[str],
        optional: Sequence[str],
    ) -> None:
        self.data = data
        self.place = place
        self.problems = problems
        known = [*required, *optional]
        meant = set()
        for key in data:
            if key in known:
                continue
            if not isinstance(key, str):
                self.problem(f"a key must be a text, not {kind_of(key)}{_advice(key)}")
                continue
            near = difflib.get_close_matches(key.lower(), known, n=1)
            meant.update(near)
            hint = f"did you mean '{near[0]}'?" if near else f"the keys here are {', '.join(known)}"
            self.problem(f"unknown key {shown(key)} ({hint})")
        for key in required:
            if data.get(key) is None and key not in meant:
                self.problem(f"the key '{key}' has no value" if key in data else f"the key '{key}' is missing")

    def problem(self, what: str) -> None:
        """Note a problem of this entry."""
        self.problems.append(f"{self.place}: {what}" if self.place else what)

    def text(self, key: str) -> str:
        """A text without white space around it; empty where there is none."""
        value = self.data.get(key)
        return "" if value is None else self._text(value, f"'{key}'")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        found = []
        for number, item in enumerate(self._list(key, "texts"), start=1):
            where = f"'{key}', item {number}"
            if item is None or (isinstance(item, str) and not item.strip()):
                self.problem(f"{where} is empty")
            else:
                found.append(self._text(item, where))
        return tuple(found)

    def entries(self, key: str, what: str) -> list[tuple[str, Mapping[object, object]]]:
        """A list of mappings, each with its place: "dimension 'stage', code 3 ('planning_action')"."""
        items = self._list(key, "entries")
        ids = [_own_id(item) for item in items]
        found = []
        for number, (item, own) in enumerate(zip(items, ids, strict=True), start=1):
            place = f"{what} {number}"
            if own:
                alone = what == "dimension" and ids.count(own) == 1
                place = f"{what} {shown(own)}" if alone else f"{place} ({shown(own)})"
            if self.place:
                place = f"{self.place}, {place}"
            if isinstance(item, Mapping):
                found.append((place, item))
            else:
                self.problems.append(f"{place}: it must have keys with values, such as 'id: ...', not {kind_of(item)}")
        return found

    def _list(self, key: str, of: str) -> Sequence[object]:
        value = self.data.get(key)
        if value is None:
            return ()
        if isinstance(value, list | tuple):
            return value
        self.problem(f"'{key}' must be a list of {of}, each beginning with '- ', not {kind_of(value)}")
        return ()

    def _text(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            self.problem(f"{where} must be a text, not {kind_of(value)}{_advice(value)}")
        elif any(unicodedata.category(sign) in ("Cc", "Cs") for sign in value if sign not in "\n\t"):
            self.problem(f"{where} holds a control character or half of a character")
        else:
            return value.strip()
        return ""


def _own_id(item: object) -> str:
    own = item.get("id") if isinstance(item, Mapping) else None
    return own.strip() if isinstance(own, str) else ""


def kind_of(value: object) -> str:
    """What a value is, in the words of someone who writes YAML by hand."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return "a key with a value"
    return "a list" if isinstance(value, list | tuple) else "something else"


def _advice(value: object) -> str:
    if isinstance(value, bool):
        return " (yes, no, on, off, true and false are texts only in quotes)"
    if isinstance(value, Mapping):
        return " (a text with a colon in it needs quotes)"
    return " (put it in quotes)" if isinstance(value, int | float) else ""


def shown(text: str) -> str:
    """A key or id as a message quotes it: in quotes, on one line, no longer than it takes to recognise it."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
