"""One model for many requests: a bounded queue, and batches that are fair to each request.

The event loop puts requests in and awaits their predictions; two workers take batches out and score them, so that one
batch is tokenised and decoded while another is in the network. All hold the lock only for moments, so the loop never
waits for the model.

Overload: where more requests are refused than accepted, refusing them takes a part of the processor, so the same queue
takes longer to be worked off. It is halved then, so that who is accepted waits about as long as at full load.

How a batch is formed: requests take turns, one excerpt a turn, so that a small request need not wait until a large one
is done; each request gives its excerpts shortest first. Which of a batch go through the network together is the
runtime's business. Where both workers are idle, the one that gets a first excerpt waits a moment for company; under
load none waits.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from serving.metrics import Metrics
from tl_classifier.excerpts import Excerpt, Prediction

Predict = Callable[[Sequence[Excerpt]], list[Prediction]]

OVERLOAD_PERIOD = 0.5
"""Seconds after which it is judged anew whether there is overload."""


class QueueFull(Exception):
    """There is no place for a request.

    Attributes:
        retry_after: Seconds after which there may be one, at least 1.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("the queue is full")
        self.retry_after = retry_after


class Closed(Exception):
    """No more requests are accepted."""


class _Request:
    """A request in the queue.

    Attributes:
        order: Positions in `excerpts` that are in no batch yet, the longest text first: turns are taken from the end.
        predictions: By position; None where not scored yet.
        missing: How many are not scored yet.
        result: Resolved, in the event loop, when all are scored or one has failed.
    """

    __slots__ = ("accepted", "excerpts", "missing", "order", "predictions", "result")

    def __init__(self, excerpts: Sequence[Excerpt], result: asyncio.Future[list[Prediction]]) -> None:
        self.excerpts = excerpts
        self.order = sorted(range(len(excerpts)), key=lambda i: (-len(excerpts[i].text), -i))
        self.predictions: list[Prediction | None] = [None] * len(excerpts)
        self.missing = len(excerpts)
        self.result = result
        self.accepted = time.monotonic()


_Batch = list[tuple[_Request, int]]
_Outcome = tuple[_Request, int, Prediction | Exception]


class _Overload:
    """Whether, in the period before this one, more requests were refused than accepted."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0
        self._began = time.monotonic()
        self._before = False

    def now(self) -> bool:
        passed = time.monotonic() - self._began
        if passed >= OVERLOAD_PERIOD:
            # What happened long ago says nothing of now.
            self._before = self.refused > self.accepted and passed < 2 * OVERLOAD_PERIOD
            self.accepted = self.refused = 0
            self._began += passed
        return self._before


class Batcher:
    """Scores the excerpts of many requests in common batches.

    Args:
        predict: Scores a batch, in its order; called from `workers` threads at a time.
        metrics: Told of waits, batches and inference times.
        queue_requests: Most requests waiting or being scored; half as many under overload.
        queue_excerpts: Most excerpts in them; a request of at most `batch_excerpts` is accepted beyond it, so that
            large ones cannot shut out small ones.
        batch_excerpts: Most excerpts in a batch.
        batch_characters: Most characters in a batch (they stand for tokens, which are known only later); a longer
            excerpt is a batch of its own.
        batch_wait: Seconds for which an idle batcher waits for company of a first excerpt.
        workers: How many batches are scored at a time.
    """

    def __init__(
        self,
        predict: Predict,
        metrics: Metrics,
        *,
        queue_requests: int,
        queue_excerpts: int,
        batch_excerpts: int,
        batch_characters: int,
        batch_wait: float,
        workers: int = 2,
    ) -> None:
        self._predict = predict
        self._metrics = metrics
        self._queue_requests = queue_requests
        self._queue_excerpts = queue_excerpts
        self._batch_excerpts = batch_excerpts
        self._batch_characters = batch_characters
        self._batch_wait = batch_wait
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[_Request] = deque()  # have excerpts in no batch yet; guarded by _changed
        self._closed = False  # guarded by _changed
        self._seconds_an_excerpt = 0.01  # a guess until something was scored
        self._workers = [
            threading.Thread(target=self._work, name=f"inference-{number}", daemon=True) for number in range(workers)
        ]
        self._scoring = 0  # how many of them are at a batch; guarded by _changed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._overload = _Overload()
        self.requests = 0
        """How many requests are waiting or being scored."""
        self.excerpts = 0
        """How many excerpts these have."""

    def start(self) -> None:
        """Start the workers; called once, from the event loop that will call `predict`."""
        self._loop = asyncio.get_running_loop()
        for worker in self._workers:
            worker.start()

    @property
    def accepting(self) -> bool:
        """Whether requests are accepted: the workers live and `close` was not called."""
        return not self._closed and all(worker.is_alive() for worker in self._workers)

    def check(self, excerpts: int = 1) -> None:
        """Whether a request of so many excerpts would be accepted now.

        Raises:
            QueueFull: if there is no place for it.
            Closed: if none is accepted any more.
        """
        if not self.accepting:
            raise Closed
        large = excerpts > self._batch_excerpts
        most = math.ceil(self._queue_requests / 2) if self._overload.now() else self._queue_requests
        if self.requests >= most or (large and self.excerpts + excerpts > self._queue_excerpts):
            self._overload.refused += 1
            seconds = self._seconds_an_excerpt * self.excerpts
            raise QueueFull(min(max(math.ceil(seconds), 1), 60))

    async def predict(self, excerpts: Sequence[Excerpt], *, admitted: bool = False) -> list[Prediction]:
        """Predictions for the excerpts of one request, in their order. Cancelling it frees its place.

        Args:
            excerpts: What to score.
            admitted: Whether they are part of something that was accepted before: a full queue does not refuse them.

        Raises:
            QueueFull: if there is no place for it.
            Closed: if none is accepted any more.
            Exception: whatever the model raised for one of its excerpts.
        """
        if not admitted:
            self.check(len(excerpts))
        elif not self.accepting:
            raise Closed
        if not excerpts:
            return []
        assert self._loop is not None
        request = _Request(excerpts, self._loop.create_future())
        self._overload.accepted += not admitted
        self.requests += 1
        self.excerpts += len(excerpts)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()
        try:
            return await request.result
        finally:
            self._forget(request)
            self.requests -= 1
            self.excerpts -= len(excerpts)

    def close(self) -> None:
        """Accept no more requests; those accepted are finished."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def finish(self) -> None:
        """`close`, and wait until everything accepted is scored."""
        self.close()
        for worker in self._workers:
            if worker.ident is not None:
                await asyncio.to_thread(worker.join)

    def _forget(self, request: _Request) -> None:
        with self._changed:
            if request in self._waiting:
                self._waiting.remove(request)

    # --- in the workers' threads -------------------------------------------------------------------------------

    def _work(self) -> None:
        assert self._loop is not None
        while batch := self._next_batch():
            outcomes = self._score(batch)
            with self._changed:
                self._scoring -= 1
            try:
                self._loop.call_soon_threadsafe(self._deliver, outcomes)
            except RuntimeError:  # the loop is gone: the process was told to stop at once
                return

    def _next_batch(self) -> _Batch:
        """The next batch, as soon as there is one; empty when there will be none."""
        with self._changed:
            while True:
                if not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                    if not self._scoring:
                        self._wait_for_company()
                if batch := self._take():
                    self._scoring += 1
                    return batch

    def _wait_for_company(self) -> None:
        deadline = time.monotonic() + self._batch_wait
        while self._waiting and not self._closed and not self._enough():
            if (left := deadline - time.monotonic()) <= 0 or not self._changed.wait(left):
                return

    def _enough(self) -> bool:
        """Whether what waits fills a batch."""
        return sum(len(request.order) for request in self._waiting) >= self._batch_excerpts

    def _take(self) -> _Batch:
        batch: _Batch = []
        characters = 0
        for request, position in self._turns(self._batch_excerpts):
            characters += len(request.excerpts[position].text)
            if batch and characters > self._batch_characters:
                break
            batch.append((request, position))
        now = time.monotonic()
        chosen: dict[_Request, set[int]] = {}
        for request, position in batch:
            chosen.setdefault(request, set()).add(position)
        for request, positions in chosen.items():
            if len(request.order) == len(request.excerpts):
                self._metrics.wait_seconds.observe(now - request.accepted)
            request.order = [position for position in request.order if position not in positions]
            self._waiting.remove(request)
            if request.order:
                self._waiting.append(request)
        return batch

    def _turns(self, most: int) -> _Batch:
        """The excerpts whose turn comes next, in this order."""
        turns: _Batch = []
        for turn in itertools.count(1):
            found = [(request, request.order[-turn]) for request in self._waiting if turn <= len(request.order)]
            turns += found
            if not found or len(turns) >= most:
                return turns[:most]
        return turns

    def _score(self, batch: _Batch) -> list[_Outcome]:
        began = time.monotonic()
        try:
            predictions = self._predict([request.excerpts[position] for request, position in batch])
            outcomes: list[_Outcome] = [
                (request, position, prediction)
                for (request, position), prediction in zip(batch, predictions, strict=True)
            ]
        except Exception as error:
            owners = list(dict.fromkeys(request for request, _ in batch))
            if len(owners) == 1:
                return [(owners[0], batch[0][1], error)]
            # One request's excerpt must not be the end of another's: score each on its own.
            return [
                outcome for owner in owners for outcome in self._score([part for part in batch if part[0] is owner])
            ]
        seconds = time.monotonic() - began
        self._seconds_an_excerpt += 0.2 * (seconds / len(batch) - self._seconds_an_excerpt)
        self._metrics.inference_seconds.observe(seconds)
        self._metrics.batch_excerpts.observe(len(batch))
        return outcomes

    # --- in the event loop -------------------------------------------------------------------------------------

    def _deliver(self, outcomes: list[_Outcome]) -> None:
        for request, position, outcome in outcomes:
            if request.result.done():  # cancelled, or failed already
                continue
            if isinstance(outcome, Exception):
                request.result.set_exception(outcome)
                continue
            request.predictions[position] = outcome
            request.missing -= 1
            if not request.missing:
                request.result.set_result([p for p in request.predictions if p is not None])
