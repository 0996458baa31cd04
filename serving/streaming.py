"""A stream of excerpts: NDJSON in, NDJSON out, in memory that does not grow with it.

Three tasks pass the work on. One reads lines, as long as there is room for them; one makes pieces of the lines that
have come, each a request of its own to the queue; one writes the records of the pieces, in order. Room is given back
when a record was written: where scoring is slow, or the client's reading, the reading of the body stops, and with it,
through TCP, the client's sending. Several pieces are under way at a time, so that batches are full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving.batching import Closed, QueueFull
from serving.bodies import THREAD_FROM, check_media_type, parse_line
from serving.envelope import instance
from serving.logs import LOGGER
from serving.problems import BODY_TIMEOUT, INTERNAL, TIMEOUT, Problem, busy, not_ready
from serving.served import ServedModel
from serving.service import Service
from serving.settings import Settings
from tl_classifier.excerpts import Excerpt, Prediction, record

NDJSON = "application/x-ndjson"

_PIECES = 4
"""Pieces, of a batch's size each, that a stream holds at most."""

_LINGER = 2.0
"""Seconds for which what a client still sends is thrown away, so that it gets to read why its stream ended."""

_Line = tuple[int, bytes | None]
"""A line's number, and the line; None where it was too long to be kept."""


def ahead_excerpts(settings: Settings) -> int:
    """How many lines a stream takes in before any of its answers is taken."""
    return _PIECES * settings.batch_excerpts


def ahead_bytes(settings: Settings) -> int:
    """How many bytes a stream takes in before any of its answers is taken."""
    return int(settings.max_line_bytes)


class LineSplitter:
    """Finds the lines in chunks of bytes, and holds no more than one line.

    Args:
        limit: Most bytes of a line, its end not counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._part = bytearray()
        self._too_long = False
        self.lines = 0
        """How many lines there were."""

    def feed(self, chunk: bytes) -> Iterator[_Line]:
        """The lines that end in `chunk`."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._line()
        self._add(rest)

    def end(self) -> Iterator[_Line]:
        """The last line, where it has no line end."""
        if self._part or self._too_long:
            yield self._line()

    def _add(self, part: bytes) -> None:
        if len(self._part) + len(part) > self._limit:
            self._too_long = True
        if self._too_long:
            self._part.clear()
        else:
            self._part += part

    def _line(self) -> _Line:
        self.lines += 1
        line = None if self._too_long else bytes(self._part)
        self._part.clear()
        self._too_long = False
        return self.lines, line


@dataclass(slots=True)
class _Piece:
    """Some lines of a stream.

    Attributes:
        lines: The lines.
        size: Their bytes.
        answer: What is written for them, when it is there; None where they cannot be scored any more.
    """

    lines: list[_Line]
    size: int
    answer: asyncio.Task[bytes | None]


class StreamAnswer(Response):
    """Answers a stream while it comes in.

    Args:
        service: Where it is scored.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(media_type=NDJSON)
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, score and write.

        Raises:
            Problem: if the stream is not accepted.
            ClientDisconnect: if the client hangs up.
        """
        service = self._service
        check_media_type(Request(scope), NDJSON)
        served = service.served
        try:
            served.batcher.check()
        except QueueFull as full:
            raise busy(full.retry_after) from None
        except Closed:
            raise not_ready("The server is shutting down.") from None
        with service.stream(), service.memory.share() as share, served.lease():
            share.take(2 * service.settings.max_line_bytes)
            await _Stream(service, served, scope, receive, send).run()


class _Stream:
    """One stream.

    Args:
        service: Its settings and metrics.
        served: The model, for the whole of it.
        scope: The request's.
        receive: Gives the body.
        send: Takes the answer.
    """

    def __init__(self, service: Service, served: ServedModel, scope: Scope, receive: Receive, send: Send) -> None:
        self._service = service
        self._settings = service.settings
        self._served = served
        self._request_id: str = scope["state"]["request_id"]
        self._instance = instance(scope)
        self._notes: dict[str, int] = scope["state"]["notes"]
        self._notes |= {"excerpts": 0, "problems": 0, "bytes": 0}
        self._receive = receive
        self._receiving: asyncio.Future[Message] | None = None  # at hand all the time, so that hanging up is noticed
        self._send = send
        self._splitter = LineSplitter(self._settings.max_line_bytes)
        self._lines: deque[_Line] = deque()  # in no piece yet
        self._held = [0, 0]  # lines that are not answered yet, and their bytes
        self._ended = False  # whether more lines will come
        self._why: Problem | None = None  # why the stream ends before the client's end
        self._body_left = True
        self._changed = asyncio.Condition()
        self._pieces: asyncio.Queue[_Piece | None] = asyncio.Queue(_PIECES - 2)  # beside one made and one written

    async def run(self) -> None:
        """Answer the stream.

        Raises:
            ClientDisconnect: if the client hangs up, or does not take its answers.
        """
        try:
            # The first call of receive comes before the answer's start: it lets a client send that waits for
            # "100 Continue".
            self._message()
            await asyncio.sleep(0)
            await self._send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", NDJSON.encode()), (b"x-accel-buffering", b"no")],
                }
            )
            unanswered = await self._work()
            if self._why is not None:
                await self._send_body(self._problem(unanswered, self._why, ended=True) + b"\n")
                await self._linger()
            await self._send_body(b"", more=False)
        finally:
            self._message().cancel()
            self._service.metrics.request_excerpts.observe(self._notes["excerpts"])

    async def _work(self) -> int:
        """Read, score and write; the number of the first line that is not answered."""
        unanswered = 0
        gone = False
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read())
                making = tasks.create_task(self._make_pieces(tasks))
                unanswered = await self._write()
                reading.cancel()
                making.cancel()
        except* ClientDisconnect:
            gone = True
        if gone:
            raise ClientDisconnect
        return unanswered

    # --- reading ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while not self._ended:
            await self._room()
            chunk = await self._chunk()
            if chunk is None:
                lines = list(self._splitter.end()) if self._why is None else []
                self._ended = True
            else:
                self._notes["bytes"] += len(chunk)
                lines = list(self._splitter.feed(chunk))
            lines = [(number, line) for number, line in lines if line is None or line.strip()]
            self._hold(len(lines), _size(lines))
            async with self._changed:
                self._lines += lines
                self._changed.notify_all()
        if self._why is None and (await self._message())["type"] == "http.disconnect":
            raise ClientDisconnect  # before all was answered, or this task would have been cancelled

    def _message(self) -> asyncio.Future[Message]:
        """The next message of the client's."""
        if self._receiving is None:
            self._receiving = asyncio.ensure_future(self._receive())
        return self._receiving

    async def _room(self) -> None:
        """Wait until more may be read.

        Raises:
            ClientDisconnect: if the client hangs up meanwhile.
        """
        room = asyncio.ensure_future(self._wait_for(self._has_room))
        either: set[asyncio.Future[Any]] = {room, self._message()}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not room.done() and self._message().result()["type"] == "http.disconnect":
                raise ClientDisconnect
            await room
        finally:
            room.cancel()

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _chunk(self) -> bytes | None:
        """The next bytes; None at the end, be it the client's or for the reason that is then in `_why`."""
        if not self._body_left:
            return None
        idle = self._settings.stream_idle_seconds
        refusing = asyncio.ensure_future(self._service.refusing.wait())
        try:
            either: set[asyncio.Future[Any]] = {self._message(), refusing}
            while not self._message().done():
                await asyncio.wait(either, timeout=idle, return_when=asyncio.FIRST_COMPLETED)
                if refusing.done():
                    self._why = _STOPPING
                    return None
                if not self._message().done() and not self._held[0]:
                    self._why = Problem(BODY_TIMEOUT, f"Nothing more of the body arrived within {idle:g} seconds.")
                    return None
        finally:
            refusing.cancel()
        message = self._message().result()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._receiving = None
        self._body_left = message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    def _has_room(self) -> bool:
        lines, size = self._held
        return lines < ahead_excerpts(self._settings) and size < ahead_bytes(self._settings)

    def _hold(self, lines: int, size: int) -> None:
        self._held[0] += lines
        self._held[1] += size

    # --- scoring ------------------------------------------------------------------------------------------------

    async def _make_pieces(self, tasks: asyncio.TaskGroup) -> None:
        while lines := await self._next_lines():
            size = _size(lines)
            await self._pieces.put(_Piece(lines, size, tasks.create_task(self._answer(lines, size))))
        await self._pieces.put(None)

    async def _next_lines(self) -> list[_Line]:
        """What has come, a batch at most, as soon as there is a line; empty when there will be none."""
        await self._wait_for(lambda: bool(self._lines) or self._ended)
        return [self._lines.popleft() for _ in range(min(len(self._lines), self._settings.batch_excerpts))]

    async def _answer(self, lines: Sequence[_Line], size: int) -> bytes | None:
        parsed = self._parse(lines) if size < THREAD_FROM else await asyncio.to_thread(self._parse, lines)
        excerpts = [one for one in parsed if isinstance(one, Excerpt)]
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                predictions = iter(await self._predict(excerpts))
        except (Closed, TimeoutError) as error:
            self._why = _STOPPING if isinstance(error, Closed) else _TOO_SLOW
            return None
        answers = []
        for (number, _), one in zip(lines, parsed, strict=True):
            outcome = one if isinstance(one, Problem) else next(predictions)
            if isinstance(one, Excerpt) and isinstance(outcome, Prediction):
                answers.append(to_json(record(one, outcome, model=self._served.classifier.model, with_text=False)))
            else:
                assert isinstance(outcome, Problem)
                answers.append(self._problem(number, outcome))
                self._notes["problems"] += 1
        self._notes["excerpts"] += len(excerpts)
        self._service.metrics.excerpts.inc(len(excerpts))
        return b"\n".join([*answers, b""])

    def _parse(self, lines: Sequence[_Line]) -> list[Excerpt | Problem]:
        parsed: list[Excerpt | Problem] = []
        for _, line in lines:
            try:
                parsed.append(parse_line(line, self._settings))
            except Problem as problem:
                parsed.append(problem)
        return parsed

    async def _predict(self, excerpts: Sequence[Excerpt]) -> list[Prediction | Problem]:
        """Predictions; where the model fails, a problem for the excerpt at which it does."""
        try:
            return list(await self._served.batcher.predict(excerpts, admitted=True))
        except Closed:
            raise
        except Exception:
            if len(excerpts) == 1:
                LOGGER.error("excerpt failed", exc_info=True, extra={"fields": {"request": self._request_id}})
                return [Problem(INTERNAL, "The model failed at this excerpt; the server's log has more.")]
        return [outcome for excerpt in excerpts for outcome in await self._predict([excerpt])]

    # --- writing ------------------------------------------------------------------------------------------------

    async def _write(self) -> int:
        """Write the answers; the number of the first line that has none."""
        while (piece := await self._pieces.get()) is not None:
            answer = await piece.answer
            if answer is None:
                return piece.lines[0][0]
            await self._send_body(answer)
            async with self._changed:
                self._hold(-len(piece.lines), -piece.size)
                self._changed.notify_all()
        return self._splitter.lines + 1

    async def _send_body(self, body: bytes, *, more: bool = True) -> None:
        try:
            async with asyncio.timeout(self._settings.stream_idle_seconds):
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            raise ClientDisconnect from None

    def _problem(self, line: int, problem: Problem, *, ended: bool = False) -> bytes:
        return to_json({"line": line, "problem": problem.document(self._instance), "ended": ended})

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while self._body_left:
                    message = await self._message()
                    self._receiving = None
                    self._body_left = message["type"] == "http.request" and message.get("more_body", False)


def _size(lines: Sequence[_Line]) -> int:
    return sum(len(line or b"") for _, line in lines)


_STOPPING = not_ready("The server is shutting down; send the rest again later.")
_TOO_SLOW = Problem(TIMEOUT, "The lines were not scored in time; send the rest again later.")
