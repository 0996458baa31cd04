"""The queue: batches common to requests and fair to each, bounded, and emptied before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from serving.batching import OVERLOAD_PERIOD, Batcher, Closed, QueueFull
from serving.metrics import Metrics
from tests.serving_helpers import FakeClassifier, soon
from tl_classifier.excerpts import Excerpt, Prediction


def excerpts(*texts: str) -> list[Excerpt]:
    return [Excerpt(text=text) for text in texts]


@asynccontextmanager
async def batching(model: FakeClassifier, **options: Any) -> AsyncIterator[Batcher]:
    limits: dict[str, Any] = {
        "queue_requests": 100,
        "queue_excerpts": 1000,
        "batch_excerpts": 8,
        "batch_characters": 10_000,
        "batch_wait": 0.0,
        "workers": 1,  # so that what comes after what is certain
    }
    batcher = Batcher(model.predict, Metrics(), **limits | options)
    batcher.start()
    try:
        yield batcher
    finally:
        model.gate.set()
        await batcher.finish()


async def hold(batcher: Batcher, model: FakeClassifier) -> asyncio.Task[list[Prediction]]:
    """Keep the worker busy with a batch of its own until the gate is opened."""
    model.gate.clear()
    task = asyncio.ensure_future(batcher.predict(excerpts("hold")))
    await soon(lambda: model.batches == [["hold"]])
    return task


@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=20), max_size=8),
    st.integers(1, 3),
)
@hypothesis_settings(max_examples=40)
def test_each_request_gets_the_predictions_of_its_own_texts_in_order(requests: list[list[str]], workers: int) -> None:
    model = FakeClassifier()
    requests = [[text for text in texts if "explode" not in text] for texts in requests]

    async def run() -> list[list[Prediction]]:
        async with batching(model, batch_characters=100, workers=workers) as batcher:
            return await asyncio.gather(*(batcher.predict(excerpts(*texts)) for texts in requests))

    assert asyncio.run(run()) == [[model.predict_one(text) for text in texts] for texts in requests]
    assert sorted(text for batch in model.batches for text in batch) == sorted(t for ts in requests for t in ts)
    for batch in model.batches:
        assert len(batch) <= 8
        assert len(batch) == 1 or sum(map(len, batch)) <= 100


def test_waiting_requests_share_batches_and_small_ones_overtake_large_ones() -> None:
    model = FakeClassifier()

    async def run() -> list[str]:
        done: list[str] = []

        async def ask(name: str, count: int) -> None:
            await batcher.predict(excerpts(*(f"{name}{i:03}" for i in range(count))))
            done.append(name)

        async with batching(model) as batcher:
            held = await hold(batcher, model)
            large = asyncio.ensure_future(ask("large", 100))
            await soon(lambda: batcher.requests == 2)
            small = [asyncio.ensure_future(ask(f"small{n}", 2)) for n in range(3)]
            await soon(lambda: batcher.requests == 5)
            model.gate.set()
            await asyncio.gather(held, large, *small)
        return done

    done = asyncio.run(run())
    assert done[-1] == "large"
    # After the batch in hand, one with a turn of each request, and no more than the batch's size.
    assert [text[:6] for text in model.batches[1]] == ["large0", "small0", "small1", "small2"] * 2
    assert len(model.batches) == 1 + math.ceil(106 / 8)


def test_two_batches_are_scored_at_a_time() -> None:
    model = FakeClassifier()

    async def run() -> None:
        async with batching(model, workers=2, batch_excerpts=2) as batcher:
            model.gate.clear()
            tasks = [asyncio.ensure_future(batcher.predict(excerpts(f"{n}a", f"{n}b"))) for n in range(3)]
            await soon(lambda: len(model.batches) == 2)
            await asyncio.sleep(0.05)
            assert len(model.batches) == 2
            model.gate.set()
            for n, found in enumerate(await asyncio.gather(*tasks)):
                assert found == [model.predict_one(f"{n}a"), model.predict_one(f"{n}b")]

    asyncio.run(run())
    assert [len(batch) for batch in model.batches] == [2, 2, 2]
    assert sorted(text for batch in model.batches for text in batch) == ["0a", "0b", "1a", "1b", "2a", "2b"]


def test_a_large_request_is_scored_in_batches_of_about_one_length() -> None:
    model = FakeClassifier()
    texts = [("a" if i % 2 else "b" * 50) + str(i) for i in range(32)]

    async def run() -> None:
        async with batching(model) as batcher:
            assert await batcher.predict(excerpts(*texts)) == [model.predict_one(text) for text in texts]

    asyncio.run(run())
    assert [{len(text) > 50 for text in batch} for batch in model.batches] == [{False}, {False}, {True}, {True}]


def test_a_batch_is_bounded_in_characters_and_a_longer_excerpt_goes_alone() -> None:
    model = FakeClassifier()

    async def run() -> None:
        async with batching(model, batch_characters=10) as batcher:
            await batcher.predict(excerpts("x" * 50, "aaaa", "bbbb", "cccc"))

    asyncio.run(run())
    assert model.batches == [["aaaa", "bbbb"], ["cccc"], ["x" * 50]]


def test_requests_take_turns_up_to_the_batchs_size() -> None:
    model = FakeClassifier()
    long = ["l" * 4000, "m" * 3900, "n" * 3800]
    short = [f"short {n:02}" for n in range(10)]

    async def run() -> None:
        async with batching(model, batch_excerpts=8) as batcher:
            held = await hold(batcher, model)
            tasks = []
            for text in (long[0], *short[:5], long[1], *short[5:], long[2]):
                tasks.append(asyncio.ensure_future(batcher.predict(excerpts(text))))
                await asyncio.sleep(0)
            await soon(lambda: batcher.requests == 14)
            model.gate.set()
            await asyncio.gather(held, *tasks)

    asyncio.run(run())
    assert model.batches[1:] == [[long[0], *short[:5], long[1], short[5]], [*short[6:], long[2]]]


def test_many_waiting_requests_are_all_served_in_turn() -> None:
    model = FakeClassifier()
    lengths = [(i * 7919) % 900 + 1 for i in range(90)]
    places: list[int] = []

    async def run() -> None:
        async def ask(number: int) -> None:
            await batcher.predict(excerpts(f"{number:03}" + "x" * lengths[number]))
            places.append(number)

        async with batching(model, batch_excerpts=8) as batcher:
            held = await hold(batcher, model)
            tasks = [asyncio.ensure_future(ask(n)) for n in range(90)]
            await soon(lambda: batcher.requests == 91)
            model.gate.set()
            await asyncio.gather(held, *tasks)

    asyncio.run(run())
    assert sorted(places) == list(range(90))
    waiting = list(range(90))
    for batch in model.batches[1:]:
        numbers = [int(text[:3]) for text in batch]
        assert waiting[0] in numbers, "who waited longest was passed over"
        waiting = [number for number in waiting if number not in numbers]


def test_an_idle_worker_waits_for_company_a_busy_one_does_not() -> None:
    model = FakeClassifier()

    async def run() -> tuple[float, float]:
        async with batching(model, batch_wait=0.3, batch_excerpts=4) as batcher:
            began = time.monotonic()
            first = asyncio.ensure_future(batcher.predict(excerpts("one")))
            await asyncio.sleep(0.05)
            await asyncio.gather(first, batcher.predict(excerpts("two")))
            alone = time.monotonic() - began
            assert [sorted(batch) for batch in model.batches] == [["one", "two"]]

            began = time.monotonic()
            await batcher.predict(excerpts("a", "b", "c", "d"))  # a full batch has nothing to wait for
            full = time.monotonic() - began
        return alone, full

    alone, full = asyncio.run(run())
    assert 0.25 < alone < 2
    assert full < 0.25


def test_a_busy_worker_takes_what_has_come_without_waiting() -> None:
    model = FakeClassifier()

    async def run() -> float:
        async with batching(model, batch_wait=5.0) as batcher:
            model.gate.clear()
            held = asyncio.ensure_future(batcher.predict(excerpts(*"abcdefgh")))
            await soon(lambda: len(model.batches) == 1)
            late = asyncio.ensure_future(batcher.predict(excerpts("late")))
            await soon(lambda: batcher.requests == 2)
            began = time.monotonic()
            model.gate.set()
            await asyncio.gather(held, late)
            return time.monotonic() - began

    assert asyncio.run(run()) < 2


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    model = FakeClassifier()

    async def run() -> None:
        async with batching(model, queue_requests=3) as batcher:
            tasks = [await hold(batcher, model)]
            tasks += [asyncio.ensure_future(batcher.predict(excerpts("next"))) for _ in range(2)]
            await soon(lambda: batcher.requests == 3)
            with pytest.raises(QueueFull) as full:
                await batcher.predict(excerpts("too much"))
            assert 1 <= full.value.retry_after <= 60
            model.gate.set()
            await asyncio.gather(*tasks)
            await batcher.predict(excerpts("now there is room"))
            assert (batcher.requests, batcher.excerpts) == (0, 0)

    asyncio.run(run())
    assert ["too much"] not in model.batches


def test_under_overload_the_queue_is_halved_until_it_is_over() -> None:
    model = FakeClassifier()

    async def places(batcher: Batcher) -> int:
        """How many are accepted while nothing is scored."""
        model.batches.clear()
        tasks = [await hold(batcher, model)]
        with contextlib.suppress(QueueFull):
            while True:
                batcher.check()
                tasks.append(asyncio.ensure_future(batcher.predict(excerpts("next"))))
                await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(*tasks)
        return len(tasks)

    async def run() -> list[int]:
        async with batching(model, queue_requests=6) as batcher:
            found = [await places(batcher)]
            tasks = [await hold_again(batcher)]
            tasks += [asyncio.ensure_future(batcher.predict(excerpts("next"))) for _ in range(5)]
            await asyncio.sleep(0)
            for _ in range(20):
                with pytest.raises(QueueFull):
                    batcher.check()
            model.gate.set()
            await asyncio.gather(*tasks)
            await asyncio.sleep(1.1 * OVERLOAD_PERIOD)
            found.append(await places(batcher))
            await asyncio.sleep(1.1 * OVERLOAD_PERIOD)
            return [*found, await places(batcher)]

    async def hold_again(batcher: Batcher) -> asyncio.Task[list[Prediction]]:
        model.batches.clear()
        return await hold(batcher, model)

    assert asyncio.run(run()) == [6, 3, 6]


def test_large_requests_are_bounded_in_excerpts_and_leave_room_for_small_ones() -> None:
    model = FakeClassifier()

    async def run() -> None:
        async with batching(model, queue_excerpts=20) as batcher:
            tasks = [
                await hold(batcher, model),
                asyncio.ensure_future(batcher.predict(excerpts(*"abcdefghijklmnopqrs"))),
            ]
            await soon(lambda: batcher.excerpts == 20)
            with pytest.raises(QueueFull):
                await batcher.predict(excerpts(*"123456789"))
            tasks.append(asyncio.ensure_future(batcher.predict(excerpts(*"12345678"))))
            await soon(lambda: batcher.excerpts == 28)
            model.gate.set()
            await asyncio.gather(*tasks)

    asyncio.run(run())


def test_a_cancelled_request_frees_its_place_and_is_not_scored() -> None:
    model = FakeClassifier()

    async def run() -> None:
        async with batching(model) as batcher:
            held = await hold(batcher, model)
            task = asyncio.ensure_future(batcher.predict(excerpts("cancelled")))
            await soon(lambda: batcher.requests == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (batcher.requests, batcher.excerpts) == (1, 1)
            model.gate.set()
            await held
            await batcher.predict(excerpts("after"))

    asyncio.run(run())
    assert model.batches == [["hold"], ["after"]]


def test_a_request_cancelled_while_it_is_scored_harms_nobody() -> None:
    model = FakeClassifier()

    async def run() -> None:
        async with batching(model) as batcher:
            held = await hold(batcher, model)
            held.cancel()
            other = asyncio.ensure_future(batcher.predict(excerpts("other")))
            await soon(lambda: batcher.requests == 1)
            model.gate.set()
            assert await other == [model.predict_one("other")]

    asyncio.run(run())


def test_a_failure_of_the_model_is_that_of_the_request_alone_whose_excerpt_it_was() -> None:
    model = FakeClassifier()

    async def run() -> list[Any]:
        async with batching(model) as batcher:
            held = await hold(batcher, model)
            tasks = [
                asyncio.ensure_future(batcher.predict(excerpts(*texts)))
                for texts in (["good"], ["explode", "part of it"], ["also good"])
            ]
            await soon(lambda: batcher.requests == 4)
            model.gate.set()
            await held
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert (batcher.requests, batcher.excerpts) == (0, 0)
            await batcher.predict(excerpts("the worker lives on"))
            return outcomes

    good, bad, also = asyncio.run(run())
    assert good == [model.predict_one("good")]
    assert isinstance(bad, RuntimeError)
    assert also == [model.predict_one("also good")]


def test_a_model_that_answers_too_little_is_an_error_not_a_shift() -> None:
    class Short(FakeClassifier):
        def predict(self, excerpts: Any) -> list[Prediction]:
            return super().predict(excerpts)[:-1]

    async def run() -> None:
        async with batching(Short()) as batcher:
            with pytest.raises(ValueError):
                await batcher.predict(excerpts("a", "b"))

    asyncio.run(run())


def test_closing_finishes_what_was_accepted_and_refuses_the_rest() -> None:
    model = FakeClassifier(seconds=0.001)

    async def run() -> list[list[Prediction]]:
        async with batching(model) as batcher:
            held = await hold(batcher, model)
            tasks = [
                asyncio.ensure_future(batcher.predict(excerpts(*(f"{n} {i}" for i in range(30))))) for n in range(4)
            ]
            await soon(lambda: batcher.requests == 5)
            batcher.close()
            with pytest.raises(Closed):
                await batcher.predict(excerpts("late"))
            model.gate.set()
            await batcher.finish()
            await held
            return await asyncio.gather(*tasks)

    answers = asyncio.run(run())
    assert answers == [[model.predict_one(f"{n} {i}") for i in range(30)] for n in range(4)]


def test_the_metrics_tell_of_batches_and_waits() -> None:
    model = FakeClassifier()
    metrics = Metrics()

    async def run() -> None:
        batcher = Batcher(
            model.predict,
            metrics,
            queue_requests=9,
            queue_excerpts=99,
            batch_excerpts=4,
            batch_characters=99,
            batch_wait=0,
        )
        batcher.start()
        await batcher.predict(excerpts(*"abcdef"))
        await batcher.finish()

    asyncio.run(run())
    read = metrics.registry.get_sample_value
    assert read("tlc_batch_excerpts_count") == 2
    assert read("tlc_batch_excerpts_sum") == 6
    assert read("tlc_wait_seconds_count") == 1
    assert read("tlc_inference_seconds_count") == 2
