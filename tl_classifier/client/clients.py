"""The two clients: one for programs that wait, one for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from tl_classifier.client import wire
from tl_classifier.client.errors import ClientError, ProblemDetail, ServerFailure, ServerProblem, Unreachable
from tl_classifier.client.retrying import RETRIED, Deadline, retry_after
from tl_classifier.client.wire import Cutter, Item, Limits, ModelCard, Outcome
from tl_classifier.codebook import Codebook
from tl_classifier.excerpts import Excerpt, Prediction

_JSON = {"Content-Type": "application/json"}
_NDJSON = {"Content-Type": "application/x-ndjson"}
_CONNECT_SECONDS = 10.0

_T = TypeVar("_T")


class _Base:
    """What both clients share: options, and the reading of answers."""

    def __init__(self, base_url: str, api_key: str | None, deadline: float) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ClientError("The server's address must look like http://127.0.0.1:8000.")
        self._address = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
        self._deadline = deadline
        self._limits: Limits | None = None
        self._options: dict[str, Any] = {
            "base_url": base_url,
            "headers": {"Authorization": f"Bearer {api_key}"} if api_key else {},
            # Interviews go to the server that was named, not through a proxy that the environment names.
            "trust_env": False,
            # Reading certificates takes a while, and without TLS there are none to check.
            "verify": address.scheme == "https",
        }

    def _timeout(self, deadline: Deadline) -> httpx.Timeout:
        return httpx.Timeout(deadline.left, connect=min(_CONNECT_SECONDS, deadline.left))

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        reason = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
        return Unreachable(f"The server at {self._address} {reason}; is it running?")

    def _failure(self, answer: httpx.Response) -> tuple[ServerProblem, bool, float | None]:
        """The error that an answer is, whether to try again, and after how many seconds if it says so."""
        try:
            problem = ProblemDetail.from_dict(answer.json())
        except (KeyError, TypeError, ValueError):  # of a proxy, or of another program
            problem = self._strange(answer.status_code)
        again = answer.status_code in RETRIED
        return ServerProblem.of(problem), again, retry_after(answer.headers.get("Retry-After"))

    def _read(self, answer: httpx.Response, read: Callable[[], _T]) -> _T:
        """What `read` finds in an answer."""
        try:
            return read()
        except (KeyError, TypeError, ValueError, AttributeError):
            strange = True
        assert strange
        raise ServerFailure(self._strange(answer.status_code))

    def _strange(self, status: int) -> ProblemDetail:
        detail = f"What answers at {self._address} (with status {status}) is not this program's server."
        return ProblemDetail("about:blank", "Not an answer of the server", status, detail)


class Client(_Base):
    """A client of the server.

    It cuts what it is given into requests that the server takes. Where the server is busy (503, 429) or cannot be
    reached, it tries again: after the seconds or at the date that Retry-After names, else after pauses that double and
    differ from client to client. Sending an excerpt twice does no harm, since nothing is stored.

    Args:
        base_url: Where the server is, such as ``http://127.0.0.1:8000``.
        api_key: The key, where the server asks for one.
        deadline: Seconds that one request may take, with all attempts and pauses; a long list takes many requests.
        http: An httpx client to use in the place of an own one (for a proxy, certificates, a test); it is not closed.

    Raises:
        ClientError: if the address cannot be one.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        deadline: float = 600.0,
        http: httpx.Client | None = None,
    ) -> None:
        super().__init__(base_url, api_key, deadline)
        self._own = httpx.Client(**self._options) if http is None else None
        self._http = http or self._own or httpx.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own is not None:
            self._own.close()

    def classify(self, excerpts: Iterable[str | Excerpt]) -> list[Prediction]:
        """Code excerpts, in their order: all of them, or it is an error.

        Args:
            excerpts: Texts, or excerpts with what is known of them.

        Raises:
            InvalidRequest: if one of them cannot be coded; places in ``error.problem.errors`` count from the first
                excerpt given.
            ClientError: if the server cannot be reached, is busy until the deadline, or fails.
        """
        found: list[Prediction] = []
        for part in Cutter.for_requests(self.limits()).cut(excerpts):
            try:
                answer = self._ask("POST", "/v1/classify", content=wire.request_body(part), headers=_JSON)
            except ServerProblem as error:
                problem = error.problem.moved(len(found))
            else:
                found += self._read(answer, lambda: wire.predictions(answer.json(), len(part)))  # noqa: B023
                continue
            raise ServerProblem.of(problem)
        return found

    def stream(self, excerpts: Iterable[str | Excerpt]) -> Iterator[tuple[Excerpt, Outcome]]:
        """Code excerpts as they come, in their order, in memory that does not grow with their number.

        HTTP clients send a whole body before they read its answer, so what comes is sent in streams of as many
        excerpts as the server takes in at once, one after the other; if the model is changed meanwhile, records from
        one stream to the next differ in `model`.

        Yields:
            Each excerpt with its prediction, or with the problem why it cannot be coded.

        Raises:
            ClientError: if the server cannot be reached, is busy until the deadline, or fails.
        """
        for part in Cutter.for_streams(self.limits()).cut(excerpts):
            deadline = Deadline(self._deadline)
            while part:
                content = wire.stream_body(part)
                answer = self._ask("POST", "/v1/classify/stream", deadline, content=content, headers=_NDJSON)
                found, ended = self._read(answer, lambda: wire.outcomes(answer.text, len(part)))  # noqa: B023
                yield from zip((item.excerpt for item in part), found, strict=False)
                part = part[len(found) :]
                if ended is not None:
                    if (pause := deadline.pause(None)) is None:
                        raise ServerProblem.of(ended)
                    time.sleep(pause)

    def codebook(self) -> Codebook:
        """The codebook of the model that serves."""
        answer = self._ask("GET", "/v1/codebook")
        return self._read(answer, lambda: Codebook.from_dict(answer.json()))

    def model(self) -> ModelCard:
        """The model that serves."""
        answer = self._ask("GET", "/v1/model")
        return self._read(answer, lambda: ModelCard.from_dict(answer.json()))

    def limits(self) -> Limits:
        """What the server takes; it is asked once."""
        if self._limits is None:
            answer = self._ask("GET", "/v1/limits")
            self._limits = self._read(answer, lambda: Limits.from_dict(answer.json()))
        return self._limits

    def ready(self) -> bool:
        """Whether the server takes work now; nothing is tried again."""
        try:
            return self._http.get("/readyz", timeout=_CONNECT_SECONDS).status_code == 200
        except httpx.TransportError:
            return False

    def _ask(self, method: str, path: str, deadline: Deadline | None = None, **content: Any) -> httpx.Response:
        deadline = deadline or Deadline(self._deadline)
        failure: ClientError
        while True:
            try:
                answer = self._http.request(method, path, timeout=self._timeout(deadline), **content)
            except httpx.TransportError as error:
                # Raised outside of this block: httpx's error holds the request, and with it the text.
                failure, again, asked = self._unreachable(error), True, None
            else:
                if answer.status_code == 200:
                    return answer
                failure, again, asked = self._failure(answer)
            pause = deadline.pause(asked) if again else None
            if pause is None:
                raise failure
            time.sleep(pause)


class AsyncClient(_Base):
    """A client of the server for asyncio; all is as in `Client`.

    Args:
        base_url: Where the server is.
        api_key: The key, where the server asks for one.
        deadline: Seconds that one request may take, with all attempts and pauses.
        http: An httpx client to use in the place of an own one; it is not closed.

    Raises:
        ClientError: if the address cannot be one.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        deadline: float = 600.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(base_url, api_key, deadline)
        self._own = httpx.AsyncClient(**self._options) if http is None else None
        self._http = http or self._own or httpx.AsyncClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._own is not None:
            await self._own.aclose()

    async def classify(self, excerpts: Iterable[str | Excerpt]) -> list[Prediction]:
        """Code excerpts, in their order: see `Client.classify`."""
        found: list[Prediction] = []
        for part in Cutter.for_requests(await self.limits()).cut(excerpts):
            try:
                answer = await self._ask("POST", "/v1/classify", content=wire.request_body(part), headers=_JSON)
            except ServerProblem as error:
                problem = error.problem.moved(len(found))
            else:
                found += self._read(answer, lambda: wire.predictions(answer.json(), len(part)))  # noqa: B023
                continue
            raise ServerProblem.of(problem)
        return found

    async def stream(
        self, excerpts: Iterable[str | Excerpt] | AsyncIterable[str | Excerpt]
    ) -> AsyncIterator[tuple[Excerpt, Outcome]]:
        """Code excerpts as they come, in their order: see `Client.stream`."""
        async for part in _parts(excerpts, Cutter.for_streams(await self.limits())):
            deadline = Deadline(self._deadline)
            while part:
                content = wire.stream_body(part)
                answer = await self._ask("POST", "/v1/classify/stream", deadline, content=content, headers=_NDJSON)
                found, ended = self._read(answer, lambda: wire.outcomes(answer.text, len(part)))  # noqa: B023
                for item, outcome in zip(part, found, strict=False):
                    yield item.excerpt, outcome
                part = part[len(found) :]
                if ended is not None:
                    if (pause := deadline.pause(None)) is None:
                        raise ServerProblem.of(ended)
                    await asyncio.sleep(pause)

    async def codebook(self) -> Codebook:
        """The codebook of the model that serves."""
        answer = await self._ask("GET", "/v1/codebook")
        return self._read(answer, lambda: Codebook.from_dict(answer.json()))

    async def model(self) -> ModelCard:
        """The model that serves."""
        answer = await self._ask("GET", "/v1/model")
        return self._read(answer, lambda: ModelCard.from_dict(answer.json()))

    async def limits(self) -> Limits:
        """What the server takes; it is asked once."""
        if self._limits is None:
            answer = await self._ask("GET", "/v1/limits")
            self._limits = self._read(answer, lambda: Limits.from_dict(answer.json()))
        return self._limits

    async def ready(self) -> bool:
        """Whether the server takes work now; nothing is tried again."""
        try:
            return (await self._http.get("/readyz", timeout=_CONNECT_SECONDS)).status_code == 200
        except httpx.TransportError:
            return False

    async def _ask(self, method: str, path: str, deadline: Deadline | None = None, **content: Any) -> httpx.Response:
        deadline = deadline or Deadline(self._deadline)
        failure: ClientError
        while True:
            try:
                answer = await self._http.request(method, path, timeout=self._timeout(deadline), **content)
            except httpx.TransportError as error:
                failure, again, asked = self._unreachable(error), True, None
            else:
                if answer.status_code == 200:
                    return answer
                failure, again, asked = self._failure(answer)
            pause = deadline.pause(asked) if again else None
            if pause is None:
                raise failure
            await asyncio.sleep(pause)


async def _parts(
    excerpts: Iterable[str | Excerpt] | AsyncIterable[str | Excerpt], cutter: Cutter
) -> AsyncIterator[list[Item]]:
    if not isinstance(excerpts, AsyncIterable):
        for part in cutter.cut(excerpts):
            yield part
        return
    async for one in excerpts:
        if part := cutter.add(one):
            yield part
    if part := cutter.rest():
        yield part
