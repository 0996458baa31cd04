"""What programs that others wrote make of the projects and codebooks written here.

    python -m benchmarks.peers_refi_qda [PROJECT.qdpx] [--keep FOLDER]

Each program is installed from PyPI into an environment of its own, opens a project (a small synthetic one with three
sources, nested codes, two people and a model as coders, where none is named), and says what it found. Beside it stands
what this program finds. The environments take some minutes and about 1 GB; with --keep they stay for the next time.

The programs, and what they can open:

- qualitative-coding 1.7.8: projects. It codes lines, not passages: a coding counts once for each line, code and coder.
- pyrefiqda 0.3.1: projects, and it writes them; it reads what the schema allows and nothing else.
- qdapy 0.1.0: projects; it computes how far their coders agree.
- portableqda 0.4.2: codebooks alone (its class for projects is empty), and of those the codes at the top.
- taguette 1.5.2: projects of its own (.sqlite3), and tables of tags.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tl_classifier.codebook import Codebook
from tl_classifier.corpus.composed import Document, Given, Passage
from tl_classifier.corpus.refi.codebooks import code_guid, code_tree, write_qdc
from tl_classifier.corpus.refi.model import MODEL_ID
from tl_classifier.corpus.refi.reader import read_project
from tl_classifier.corpus.refi.writer import ProjectWriter
from tl_classifier.corpus.taguette import codebook_csv, write_taguette

TIME = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MODEL = "example@2026.01.01-00000000"

QUALITATIVE_CODING = """
import json, os, sqlite3, subprocess, sys
project, folder = sys.argv[1:]
env = {**os.environ, "PYTHONBREAKPOINT": "0"}
qc = os.path.join(os.path.dirname(sys.executable), "qc")
subprocess.run([qc, "init", "--import", project], cwd=folder, env=env, check=True, capture_output=True)
db = sqlite3.connect(os.path.join(folder, "qualitative_coding.sqlite3"))
count = lambda table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
print(json.dumps({"sources": count("document"), "codes": count("code"), "coders": count("coder"),
                  "codings": count("coded_line")}))
"""

PYREFIQDA = """
import json, sys
from pathlib import Path
from pyrefiqda.refiproject import RefiProject
project, folder = sys.argv[1:]
found = RefiProject.load(project, extract_dir=folder)
def walk(codes):
    for code in codes:
        yield code
        yield from walk(code.code)
texts = found.sources.text_source
selections = [s for t in texts for s in t.plain_text_selection]
words = []
for t in texts:
    text = (Path(folder) / "sources" / t.plain_text_path.removeprefix("internal://")).read_bytes().decode()
    words += [text[s.start_position:s.end_position] for s in t.plain_text_selection]
print(json.dumps({"sources": len(texts), "codes": len(list(walk(found.code_book.codes.code))),
                  "coders": len(found.users.user), "selections": len(selections),
                  "codings": sum(len(s.coding) for s in selections), "words": words}))
"""

QDAPY = """
import json, sys
import qdapy.qdpx
found = qdapy.qdpx.read_qdpx(sys.argv[1], warn=False)
rows = found.fragments
marks = rows.drop_duplicates("annotationKey")
print(json.dumps({"sources": rows["title"].nunique(), "codes": len(found.codebook), "coders": rows["codedBy"].nunique(),
                  "selections": len(marks), "codings": len(rows), "words": list(marks["text"])}))
"""

PORTABLEQDA = """
import json, logging, sys
import portableqda
logging.disable(logging.CRITICAL)
book = portableqda.codebookCls()
book.readQdcFile(input=sys.argv[1])
print(json.dumps({"codes": len([code for code in book.codes.values() if code is not None])}))
"""

TAGUETTE = """
import json, os, sys
from taguette import database, extract, import_codebook
project, folder = sys.argv[1:]
source = database.connect(f"sqlite:///{project}", external=True)()
target = database.connect(f"sqlite:///{folder}/own.sqlite3")()
target.add(database.User(login="admin"))
target.commit()
database.copy_project(source, target, 1, "admin")
marks = target.query(database.Highlight).all()
words = ["".join(extract.extract(m.document.contents, m.start_offset, m.end_offset).split()) for m in marks]
assert words == ["".join(m.snippet.split()) for m in marks]
with open(project.replace(".sqlite3", ".csv"), "rb") as tags:
    listed = import_codebook.list_tags(tags)
print(json.dumps({"sources": target.query(database.Document).count(), "codes": len(listed),
                  "selections": len(marks), "codings": sum(len(m.tags) - 1 for m in marks)}))
"""

PEERS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "qualitative-coding": ("project.qdpx", QUALITATIVE_CODING, ("qualitative-coding==1.7.8",)),
    "pyrefiqda": ("project.qdpx", PYREFIQDA, ("pyrefiqda==0.3.1",)),
    "qdapy": ("project.qdpx", QDAPY, ("qdapy==0.1.0",)),
    "portableqda": ("codebook.qdc", PORTABLEQDA, ("portableqda==0.4.2",)),
    "taguette": ("taguette.sqlite3", TAGUETTE, ("taguette==1.5.2", "setuptools<81")),
}


def write_sample(path: Path) -> None:
    """A project with three sources, the shipped codes, two people and a model."""
    codebook = Codebook.default()
    dimension = codebook.dimensions[0]
    writer = ProjectWriter(name="Synthetic", created=TIME)
    writer.add_codes(code_tree(codebook))
    coders = [writer.add_coder("Ada"), writer.add_coder("Bea"), writer.add_coder(MODEL, id=MODEL_ID)]
    for number in range(3):
        lines = [f"P{number}: {code.examples[0]}" for code in dimension.codes]
        text = "\n\n".join(lines) + "\n\nP9: Nothing 😀 to code — here.\n"
        source = writer.add_source(f"Interview {number + 1}", text)
        for at, (line, code) in enumerate(zip(lines, dimension.codes, strict=True)):
            start = text.index(line) + len("P0: ")
            for coder in coders[at % 2 :]:
                guid = code_guid(codebook, dimension.id, code.id)
                writer.add_coding(source, start, text.index(line) + len(line), guid, coder, name=f"line:{2 * at}")
    writer.write(path)


def ours(path: Path) -> tuple[dict[str, object], list[str]]:
    """What this program finds in a project, and the words of its selections."""
    project = read_project(path)
    selections = [(source, selection) for source in project.sources for selection in source.selections]
    words = [(source.text or "")[selection.start : selection.end] for source, selection in selections]
    found: dict[str, object] = {
        "sources": len(project.sources),
        "codes": len(list(project.walk_codes())),
        "coders": len(project.coders),
        "selections": len(selections),
        "codings": sum(len(selection.codings) for _, selection in selections),
    }
    return found, words


def documents_of(path: Path, codebook: Codebook) -> list[Document]:
    """A project's documents as results, for the formats that are made of results."""
    known = {code_guid(codebook, d.id, code.id): (d.id, code.id) for d in codebook.dimensions for code in d.codes}
    documents = []
    for source in read_project(path).sources:
        passages = []
        for selection in source.selections:
            given = tuple(Given(*known[c.code], 0.9) for c in selection.codings if c.code in known)
            if given:
                passages.append(Passage(selection.start, selection.end, given, MODEL))
        documents.append(Document(source.name, source.text or "", tuple(passages)))
    return documents


def python_of(home: Path, requirements: tuple[str, ...]) -> Path:
    """The interpreter of an environment with these packages, made where it is not there."""
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        install: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *requirements,
        ]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
    return python


def ask(name: str, files: Path, homes: Path) -> dict[str, object]:
    """What a program finds; or, under ``failed``, the last line of what it said."""
    file, script, requirements = PEERS[name]
    python = python_of(homes / name, requirements)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([python, "-c", script, files / file, folder], capture_output=True, text=True, cwd=folder)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Install the programs, ask each, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", nargs="?", type=Path, help="a .qdpx; a synthetic one if left out")
    parser.add_argument("--keep", type=Path, help="folder for the environments, kept for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch)
        project = files / "project.qdpx"
        if options.project:
            project.write_bytes(options.project.read_bytes())
        else:
            write_sample(project)
        codebook = Codebook.default()
        write_qdc(codebook, files / "codebook.qdc")
        write_taguette(documents_of(project, codebook), codebook, files / "taguette.sqlite3", name="p", created=TIME)
        (files / "taguette.csv").write_text(codebook_csv(codebook), "utf-8-sig")
        found, words = ours(project)
        columns = ("sources", "codes", "coders", "selections", "codings")
        table = Table("program", "opens", *columns, "words of selections")
        table.add_row("tl-classifier", "project.qdpx", *(str(found[column]) for column in columns), "")
        homes = (options.keep or files / "environments").resolve()
        for name in PEERS:
            answer = ask(name, files, homes)
            read = answer.pop("words", None)
            same = "" if read is None else "the same" if sorted(read) == sorted(words) else "differ"  # type: ignore[call-overload]
            cells = [str(answer.get(column, "")) for column in columns]
            table.add_row(PEERS[name][2][0], PEERS[name][0], *cells, str(answer.get("failed", same)))
        Console(width=150).print(table)


if __name__ == "__main__":
    main()
