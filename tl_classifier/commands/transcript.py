"""``tl-classifier transcript``: what is understood of a transcript, before it is scored."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tl_classifier.corpus import inputs
from tl_classifier.corpus.documents import read_document
from tl_classifier.corpus.labels import folded
from tl_classifier.corpus.plaintext import PlainText
from tl_classifier.corpus.speakers import Interviewers, LeftOut, Selection, Speaker, recognise, select, speakers_of
from tl_classifier.corpus.transcripts import Turn, excerpts_of, find_turns
from tl_classifier.errors import InputError

LONG_TURN = 1_000
"""Words of a turn that is so long that its end may have been missed."""

TURNS = 8
"""Turns that are shown."""

_SHOWN = 140

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="See what is understood of a transcript.")


def register(app: typer.Typer) -> None:
    """Add the command ``transcript`` to `app`."""
    app.add_typer(commands, name="transcript")


@commands.callback()
def _group() -> None:
    pass


@commands.command()
def show(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A transcript: .docx .odt .rtf .pdf .txt .md .vtt or .srt.")
    ],
    interviewer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Who interviews; may be given again. [default: recognised]"),
    ] = None,
    turns: Annotated[int, typer.Option(min=0, metavar="N", help="How many turns to print.")] = TURNS,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, with all turns.")] = False,
) -> None:
    """Print how a transcript is read: its speakers, who is taken for the interviewer and why, its first turns.

    A misreading is so seen before it is scored. Nothing is scored, and nothing is written.
    """
    reading = read(file, interviewer or ())
    if as_json:
        typer.echo(json.dumps(reading.as_json(), ensure_ascii=False, indent=2))
    else:
        _print(reading, turns, Console(highlight=False))


@dataclass(frozen=True, slots=True)
class Reading:
    """What is understood of a transcript.

    Attributes:
        file: The file.
        document: Its text.
        turns: Its turns, in order; offsets are in the text.
        excerpts: How many excerpts would be scored.
        speakers: Who speaks.
        interviewers: Who of them interviews.
        warnings: What may be wrong, as sentences.
    """

    file: Path
    document: PlainText
    turns: Sequence[Turn]
    excerpts: int
    speakers: Sequence[Speaker]
    interviewers: Interviewers
    warnings: Sequence[str]

    def words(self, turn: Turn) -> str:
        """What is said in a turn."""
        return self.document.text[turn.start : turn.end]

    def as_json(self) -> dict[str, Any]:
        """As JSON can say it."""
        return {
            "file": str(self.file),
            "format": self.document.format,
            "encoding": self.document.encoding,
            "speakers": [
                asdict(speaker) | {"interviewer": speaker.name in self.interviewers.names} for speaker in self.speakers
            ],
            "reason": self.interviewers.reason,
            "excerpts_scored": self.excerpts,
            "notes": list(self.document.notes),
            "warnings": list(self.warnings),
            "turns": [
                {"turn": number, **turn._asdict(), "text": self.words(turn)}
                for number, turn in enumerate(self.turns, start=1)
            ],
        }


def read(file: Path, interviewers: Sequence[str] = ()) -> Reading:
    """Read a transcript as ``score`` does.

    Raises:
        InputError: if it cannot be read, or is no transcript.
    """
    if file.is_dir():
        raise InputError(f"{file} is a folder; name one transcript.")
    if file.suffix.lower() in (*inputs.TABLES, *inputs.PROJECTS):
        raise InputError(f"{file} is no transcript: its rows or sources are read as they stand.")
    inputs.expand([file], endings=inputs.TRANSCRIPTS)
    document = read_document(file)
    turns = find_turns(document.text, document.marks)
    if not turns:
        raise InputError(f"{file} has no words in it.")
    rows = list(excerpts_of(document.text, turns, file.stem))
    selection = Selection(interviewers=tuple(interviewers))
    speakers = speakers_of(rows)
    asking = recognise(speakers, selection)
    absent = {folded(name) for name in interviewers} - {folded(speaker.name) for speaker in speakers}
    reading = Reading(
        file=file,
        document=document,
        turns=turns,
        excerpts=sum(1 for _ in select(rows, selection, LeftOut())),
        speakers=speakers,
        interviewers=asking,
        warnings=[f"Nobody is called {', '.join(sorted(absent))} in it."] if absent else [],
    )
    return replace(reading, warnings=[*reading.warnings, *_warnings(reading)])


def _warnings(reading: Reading) -> Iterator[str]:
    speakers = reading.speakers
    if not speakers:
        yield "No speakers were found: each paragraph is a turn. A name and a colon before each turn would be found."
    elif len(speakers) > 1 and not reading.interviewers.names:
        yield "Nobody is taken for the interviewer, and everybody is coded; say who is with --interviewer."
    once = [speaker.name for speaker in speakers if speaker.turns == 1]
    if once and len(speakers) > 1:
        yield f"Speaks only once, and may be no speaker: {_some(once)}."
    if len(speakers) > 20:
        yield f"There are {len(speakers)} speakers, which is a lot."
    long = [
        str(number)
        for number, turn in enumerate(reading.turns, start=1)
        if len(reading.words(turn).split()) > LONG_TURN
    ]
    if long:
        yield (
            f"Very long (more than {LONG_TURN:,} words), so that a change of speaker may have been missed: "
            f"turn {_some(long)}."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + " ..." * (len(names) > 10)


def _print(reading: Reading, turns: int, console: Console) -> None:
    def say(text: str) -> None:
        console.print(_plain(text), markup=False, soft_wrap=True)

    document = reading.document
    say(f"{reading.file}: {document.format}{f', {document.encoding}' if document.encoding else ''}")
    say(f"{_count(len(reading.turns), 'turn')}; {_count(reading.excerpts, 'excerpt')} would be scored.")
    for note in document.notes:
        say(note)
    asking = reading.interviewers
    if reading.speakers:
        console.print()
        table = Table(box=None, pad_edge=False)
        table.add_column("Speaker")
        for title in ("Turns", "Words", "Questions"):
            table.add_column(title, justify="right")
        table.add_column("")
        for speaker in reading.speakers:
            numbers = (f"{number:,}" for number in (speaker.turns, speaker.words, speaker.questions))
            role = "interviewer" if speaker.name in asking.names else ""
            table.add_row(Text(_plain(speaker.name)), *numbers, role)
        console.print(table)
        say(f"\nInterviewer: {', '.join(asking.names) or 'nobody'} ({asking.reason}).")
    if turns:
        console.print()
    for number, turn in enumerate(reading.turns[:turns], start=1):
        words = textwrap.shorten(reading.words(turn), _SHOWN, placeholder=" ...")
        say(f"{number:>4}  {f'{turn.speaker}: ' if turn.speaker else ''}{words}")
    if len(reading.turns) > turns > 0:
        say(f"      and {_count(len(reading.turns) - turns, 'turn')} more")
    for warning in reading.warnings:
        console.print(Text(f"\nWarning: {_plain(warning)}", style="yellow"), soft_wrap=True)


def _plain(text: str) -> str:
    """A text without anything that a terminal would act on."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
