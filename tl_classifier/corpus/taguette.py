"""Results as a Taguette project, and codebooks as Taguette imports them.

Taguette imports no highlights, but whole projects: an SQLite file (.sqlite3) with documents, tags and highlights. That
is what is written here, in the layout of Taguette 1.0 to 1.5, which newer versions bring up to date when they import
it. A highlight in Taguette has no coder: each is tagged with the model too (``model.name@version``), so that it is
never taken for a person's, and can be found and removed.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import html
import re
import sqlite3
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from tl_classifier.codebook import Code, Codebook, Dimension
from tl_classifier.corpus.composed import Document, models_of
from tl_classifier.corpus.writers import writable

_REVISION = "db5e31a0233d"
"""The layout, as Taguette names it."""

_NAME = 50
_TAG = 200
_FILE = 100

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_LINE = re.compile("[^\r\n]+")

_SCHEMA = """
PRAGMA application_id = 0x54677474;
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
CREATE TABLE users (
  login VARCHAR(30) NOT NULL PRIMARY KEY, created DATETIME NOT NULL, hashed_password VARCHAR(192),
  disabled BOOLEAN NOT NULL, password_set_date DATETIME, language VARCHAR(10), email VARCHAR(256), email_sent DATETIME);
CREATE UNIQUE INDEX ix_users_email ON users (email);
CREATE TABLE projects (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name VARCHAR(200) NOT NULL, description TEXT NOT NULL,
  created DATETIME NOT NULL);
CREATE TABLE project_members (
  project_id INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  user_login VARCHAR(30) NOT NULL REFERENCES users (login) ON DELETE CASCADE ON UPDATE CASCADE,
  privileges VARCHAR(11) NOT NULL, PRIMARY KEY (project_id, user_login));
CREATE INDEX ix_project_members_project_id ON project_members (project_id);
CREATE INDEX ix_project_members_user_login ON project_members (user_login);
CREATE TABLE documents (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name VARCHAR(200) NOT NULL, description TEXT NOT NULL,
  filename VARCHAR(200) NOT NULL, created DATETIME NOT NULL,
  project_id INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  text_direction VARCHAR(13) NOT NULL, contents TEXT NOT NULL);
CREATE INDEX ix_documents_project_id ON documents (project_id);
CREATE TABLE commands (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, date DATETIME NOT NULL,
  user_login VARCHAR(30) NOT NULL REFERENCES users (login) ON UPDATE CASCADE,
  project_id INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  document_id INTEGER, payload TEXT NOT NULL);
CREATE INDEX idx_project_document ON commands (project_id, document_id);
CREATE INDEX idx_project_id ON commands (project_id, id);
CREATE INDEX ix_commands_date ON commands (date);
CREATE INDEX ix_commands_document_id ON commands (document_id);
CREATE INDEX ix_commands_project_id ON commands (project_id);
CREATE INDEX ix_commands_user_login ON commands (user_login);
CREATE TABLE tags (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  project_id INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  path VARCHAR(200) NOT NULL, description TEXT NOT NULL, CONSTRAINT uq_tags_project_id UNIQUE (project_id, path));
CREATE INDEX ix_tags_path ON tags (path);
CREATE INDEX ix_tags_project_id ON tags (project_id);
CREATE TABLE highlights (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
  start_offset INTEGER NOT NULL, end_offset INTEGER NOT NULL, snippet TEXT NOT NULL);
CREATE INDEX ix_highlights_document_id ON highlights (document_id);
CREATE TABLE highlight_tags (
  highlight_id INTEGER NOT NULL REFERENCES highlights (id) ON DELETE CASCADE,
  tag_id INTEGER NOT NULL REFERENCES tags (id) ON DELETE CASCADE, PRIMARY KEY (highlight_id, tag_id));
CREATE INDEX ix_highlight_tags_highlight_id ON highlight_tags (highlight_id);
CREATE INDEX ix_highlight_tags_tag_id ON highlight_tags (tag_id);
"""


def tags_of(codebook: Codebook) -> dict[tuple[str, str], str]:
    """Dimension id and code id to the tag: the two with a dot between, as Taguette nests them, the code by its name."""
    tags: dict[tuple[str, str], str] = {}
    for dimension in codebook.dimensions:
        for code in dimension.codes:
            tag = f"{dimension.id}.{code.name.replace('.', ' ').strip()}"[:_TAG]
            tags[dimension.id, code.id] = tag if tag not in tags.values() else f"{dimension.id}.{code.id}"[:_TAG]
    return tags


def codebook_csv(codebook: Codebook) -> str:
    """A codebook as Taguette imports it: columns ``tag`` and ``description``."""
    text = StringIO()
    rows = csv.writer(text)
    rows.writerow(["tag", "description"])
    rows.writerows((tag, description) for tag, description in _described(codebook))
    return text.getvalue()


def write_taguette(
    documents: Sequence[Document], codebook: Codebook, path: str | Path, *, name: str, created: datetime.datetime
) -> None:
    """Write documents and what was coded in them as a Taguette project, whole or not at all.

    Args:
        documents: The documents.
        codebook: Whose codes were given.
        path: The .sqlite3 file. One that exists is replaced.
        name: Name of the project.
        created: The time that is put on what is written.

    Raises:
        OutputError: if it cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f"{path.name}.partial.tmp")
    with writable(path):
        try:
            beside.unlink(missing_ok=True)
            try:
                with contextlib.closing(sqlite3.connect(beside)) as database:
                    database.executescript(_SCHEMA)
                    time = created.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.000000")
                    _fill(database, documents, codebook, name.strip()[:_NAME] or "Scored transcripts", time)
                    database.commit()
            except sqlite3.Error as error:
                raise OSError(0, "the database could not be written") from error
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _fill(
    database: sqlite3.Connection, documents: Sequence[Document], codebook: Codebook, name: str, time: str
) -> None:
    add = database.execute
    add("INSERT INTO alembic_version VALUES (?)", (_REVISION,))
    add("INSERT INTO users (login, created, disabled) VALUES ('admin', ?, 0)", (time,))
    models = list(models_of(documents))
    about = f"Coded by {', '.join(models)}." if models else ""
    add("INSERT INTO projects VALUES (1, ?, ?, ?)", (name, about, time))
    add("INSERT INTO project_members VALUES (1, 'admin', 'ADMIN')")
    tags: dict[str, int] = {}
    listed = [*_described(codebook), *((_model_tag(model), f"Coded by {model}, not by a person.") for model in models)]
    for number, (tag, description) in enumerate(listed, start=1):
        add("INSERT INTO tags VALUES (?, 1, ?, ?)", (number, tag, description))
        tags[tag] = number
    paths = tags_of(codebook)
    highlight = 0
    for number, document in enumerate(documents, start=1):
        page = _Page(document.text)
        add(
            "INSERT INTO documents VALUES (?, ?, '', ?, ?, 1, 'LEFT_TO_RIGHT', ?)",
            (number, document.name[:_NAME], document.name[:_FILE], time, page.html),
        )
        for passage in document.passages:
            span = page.span(passage.start, passage.end)
            if span is None:
                continue
            highlight += 1
            snippet = _Page(document.text[passage.start : passage.end]).html
            add("INSERT INTO highlights VALUES (?, ?, ?, ?, ?)", (highlight, number, *span, snippet))
            given = [paths[code.dimension, code.code] for code in passage.codes]
            for tag in dict.fromkeys([*given, _model_tag(passage.model)]):
                add("INSERT INTO highlight_tags VALUES (?, ?)", (highlight, tags[tag]))


class _Page:
    """A text as Taguette keeps documents: a paragraph a line, places counted in UTF-8 bytes of the words alone.

    Attributes:
        html: The document.
    """

    def __init__(self, text: str) -> None:
        # What is no character of a page takes as many bytes as what stands for it.
        self._lines = [(match.start(), _CONTROL.sub(" ", match[0])) for match in _LINE.finditer(text)]
        self._starts = []
        at = 0
        for _, line in self._lines:
            self._starts.append(at)
            at += len(line.encode())
        self.html = "".join(f"<p>{html.escape(line, quote=False)}</p>" for _, line in self._lines)

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """Start and end in bytes of a span in code points; None where there is nothing but line breaks in it."""
        places = list(self._within(start, end))
        return (places[0][0], places[-1][1]) if places else None

    def _within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        for (begin, line), offset in zip(self._lines, self._starts, strict=True):
            first, last = max(start - begin, 0), min(end - begin, len(line))
            if first < last:
                yield offset + len(line[:first].encode()), offset + len(line[:last].encode())


def _described(codebook: Codebook) -> Iterator[tuple[str, str]]:
    paths = tags_of(codebook)
    for dimension in codebook.dimensions:
        for code in dimension.codes:
            yield paths[dimension.id, code.id], _description(dimension, code)


def _description(dimension: Dimension, code: Code) -> str:
    parts = [code.definition]
    for title, items in (("What counts", code.counts), ("What does not count", code.excludes)):
        if items:
            parts.append("\n".join([f"{title}:", *(f"- {item}" for item in items)]))
    return "\n\n".join(filter(None, [*parts, f"Id: {dimension.id}.{code.id}"]))


def _model_tag(model: str) -> str:
    return f"model.{model}"[:_TAG]
