"""Continuous batching: whoever comes and goes, each text is what it is alone."""

import asyncio
import random
from types import SimpleNamespace

import numpy as np
import pytest
from writing_models import Bytes, ChainCore, ChainReader, alone, loaded, request_of, until

from serving.errors import RequestError
from serving.runtime.generation import GenerationLimits
from serving.runtime.scheduler import Scheduler


def scheduled(core=None, reader=None, **limits):
    program = loaded(core, reader)
    loads = []
    return Scheduler(program, GenerationLimits(**limits), loads.append), program, loads


def texts_of(program, texts, **settings):
    return program.program.texts(program.encode(request_of(texts, **settings)))


async def read(generation, pause=lambda: 0):
    pieces = {}
    async for events in generation.events():
        for event in events:
            pieces[event.index] = pieces.get(event.index, "") + event.text
        await asyncio.sleep(pause())
    return [pieces[i] for i in range(len(generation.texts))]


@pytest.mark.parametrize("seed", range(6))
def test_texts_that_join_and_leave_are_those_of_each_alone(seed):
    drawn = random.Random(seed)
    limits = {"max_rows": [1, 3, 8, 64], "turn_steps": [1, 5, 50], "max_unread": [1, 4, 1000]}
    scheduler, program, _ = scheduled(
        ChainCore(0.0002),
        drawn.choice([None, ChainReader()]),
        **{name: drawn.choice(values) for name, values in limits.items()},
    )

    def asked(i):
        return {
            "temperature": drawn.choice([0.0, 0.8, 1.0, 1.3]), "top_k": drawn.choice([0, 3]),
            "top_p": drawn.choice([0.8, 1.0]), "max_tokens": drawn.randint(1, 60), "seed": i,
            "repetition_penalty": drawn.choice([1.0, 1.5]),
            "stop": drawn.choice(["", "a", ". \x1fb"]),
        }  # fmt: skip

    wanted = [("ab " * drawn.randint(0, 20), asked(i)) for i in range(40)]

    async def one(text, settings):
        await asyncio.sleep(drawn.uniform(0, 0.1))
        streamed, leaves = drawn.random() < 0.7, drawn.random() < 0.2
        generation = scheduler.submit(texts_of(program, [text], **settings), streamed)
        if leaves:
            await asyncio.sleep(drawn.uniform(0, 0.02))
            generation.cancel()
            return None
        if streamed:
            found = await read(generation, lambda: drawn.choice([0, 0, 0.003]))
            assert found == [generation.texts[0].text]
        else:
            await generation.whole()
        assert generation.texts[0].row.score == pytest.approx(alone(text, **settings)[1], abs=1e-3)
        return generation.texts[0].text

    async def main():
        return await asyncio.gather(*(one(*each) for each in wanted))

    found = asyncio.run(asyncio.wait_for(main(), 60))
    assert sum(text is not None for text in found) > 20
    for text, (prompt, settings) in zip(found, wanted, strict=True):
        assert text in (None, alone(prompt, **settings)[0])
    until(lambda: not scheduler._open and not len(scheduler._running))
    assert (scheduler._texts, scheduler._bytes, len(scheduler._waiting)) == (0, 0, 0)
    assert not scheduler._owner
    scheduler.close()


def test_all_that_run_are_stepped_together():
    core = ChainCore(0.002, endless=True)
    scheduler, program, loads = scheduled(core)

    async def main():
        texts = texts_of(program, ["a"] * 32, max_tokens=50, seed=list(range(32)))
        await asyncio.gather(*(scheduler.submit([text], True).whole() for text in texts))

    asyncio.run(main())
    # Two ids are read, [START] among them; 32 texts take about as many steps as one.
    assert len(core.sizes) < 2 * 52
    assert max(core.sizes) == 32
    scheduler.close()
    assert sum(load.tokens for load in loads) == 32 * 50
    assert loads[-1].running == 0


def test_a_short_text_does_not_wait_for_long_ones():
    core = ChainCore(0.0005, endless=True)
    scheduler, program, _ = scheduled(core, max_rows=2, turn_steps=10)

    async def main():
        long = [scheduler.submit(texts_of(program, ["a"], max_tokens=5000), True) for _ in range(4)]
        await asyncio.sleep(0.05)
        short = scheduler.submit(texts_of(program, ["b"], max_tokens=5), False)
        await asyncio.wait_for(short.whole(), 5)
        assert all(generation.left for generation in long)
        for generation in long:
            generation.cancel()

    asyncio.run(main())
    scheduler.close()


def test_a_long_prompt_holds_up_nobody():
    core = ChainCore(0.0005, endless=True)
    scheduler, program, _ = scheduled(core)

    async def main():
        prompt = scheduler.submit(texts_of(program, ["a" * 20_000], max_tokens=5), True)
        short = scheduler.submit(texts_of(program, ["b"], max_tokens=20), False)
        await asyncio.wait_for(short.whole(), 5)
        assert prompt.left
        prompt.cancel()

    asyncio.run(main())
    scheduler.close()


def test_long_prompts_are_read_in_chunks_meanwhile():
    core, reader = ChainCore(0.0005), ChainReader()
    scheduler, program, _ = scheduled(core, reader)
    prompts = ["ab" * 500, "b" * 33, "a" * 31, "c" * 30]

    async def main():
        reader.gate.clear()
        writing = [scheduler.submit(texts_of(program, [text]), True) for text in prompts]
        await asyncio.wait_for(writing[3].whole(), 10)  # a short one goes past
        reader.gate.set()
        return [(await generation.whole())[0].text for generation in writing]

    assert asyncio.run(main()) == [alone(text)[0] for text in prompts]
    assert sum(reader.sizes) == 1000 + 33
    assert max(reader.sizes) <= 256
    scheduler.close()


def test_prompts_that_cannot_be_read_in_chunks_are_read_in_steps():
    reader = ChainReader()
    reader.broken = True
    scheduler, program, _ = scheduled(ChainCore(), reader)

    async def main():
        gone = scheduler.submit(texts_of(program, ["b" * 100]), True)
        gone.cancel()
        return await scheduler.submit(texts_of(program, ["a" * 100]), False).whole()

    assert asyncio.run(main())[0].text == alone("a" * 100)[0]
    scheduler.close()


def test_a_reader_who_is_behind_pauses_alone():
    core = ChainCore(endless=True)
    scheduler, program, loads = scheduled(core, max_unread=20)

    async def main():
        slow = scheduler.submit(texts_of(program, ["a", "b"], max_tokens=200), True)
        fast = scheduler.submit(texts_of(program, ["c"], max_tokens=2000), False)
        await fast.whole()
        assert slow.parked is not None
        assert 20 <= len(slow.unread) < 30
        assert len(scheduler._running) == 0
        return await read(slow)

    assert asyncio.run(main()) == [alone_endless(text) for text in "ab"]
    scheduler.close()


def alone_endless(text):
    found = loaded(ChainCore(endless=True)).run(request_of([text], max_tokens=200))
    return found["continuation"][0].decode()


def test_what_nobody_reads_is_ended():
    scheduler, program, _ = scheduled(ChainCore(endless=True), max_unread=5, idle_seconds=0.05)

    async def main():
        left = scheduler.submit(texts_of(program, ["a"] * 3, max_tokens=1000), True)
        for _ in range(400):
            await asyncio.sleep(0.01)
            if left.error is not None:
                break
        with pytest.raises(RequestError, match=r"Nothing was read for 0.05 s\.") as ended:
            await read(left)
        assert ended.value.code == "DEADLINE_EXCEEDED"

    asyncio.run(main())
    assert (scheduler._texts, scheduler._bytes) == (0, 0)
    scheduler.close()


@pytest.mark.parametrize("limits", [{"max_texts": 4}, {"max_bytes": 4 * (8 + 8)}])
def test_what_is_too_much_is_refused_and_room_comes_back(limits):
    core = ChainCore(endless=True)
    core.gate.clear()
    scheduler, program, _ = scheduled(core, **limits)

    async def main():
        first = scheduler.submit(texts_of(program, ["a"] * 4, max_tokens=10), True)
        for count in (1, 2):
            with pytest.raises(RequestError, match="and the limit is .*; try again later") as full:
                scheduler.submit(texts_of(program, ["a"] * count), True)
            assert (full.value.code, full.value.http_status) == ("RESOURCE_EXHAUSTED", 503)
        first.cancel()
        core.gate.set()
        for _ in range(1000):
            await asyncio.sleep(0.005)
            if not scheduler._texts:
                break
        await scheduler.submit(texts_of(program, ["a"] * 4, max_tokens=5), False).whole()

    asyncio.run(main())
    scheduler.close()


def test_tables_of_forms_count():
    scheduler, program, _ = scheduled(max_bytes=1000)

    async def main():
        texts = texts_of(program, ["a"] * 3)
        for text in texts:
            text.row.form = form
        with pytest.raises(RequestError, match=f"would take {3 * 16 + 1000} bytes"):
            scheduler.submit(texts, False)

    form = SimpleNamespace(table=np.zeros(250, np.int32))
    asyncio.run(main())
    scheduler.close()


def test_an_error_in_mid_text_ends_that_request_alone():
    core = ChainCore(endless=True)
    core.fail_at = 12
    scheduler, program, _ = scheduled(core)

    async def main():
        good = scheduler.submit(texts_of(program, ["a"], max_tokens=5), False)
        bad = scheduler.submit(texts_of(program, ["a", "b"], max_tokens=50), True)
        await good.whole()
        with pytest.raises(RequestError, match="a log-probability in row 0 is NaN"):
            await read(bad)

    asyncio.run(main())
    until(lambda: not scheduler._open)
    scheduler.close()


def test_a_device_that_fails_fails_who_ran_and_not_who_comes():
    core = ChainCore(0.001, endless=True)
    scheduler, program, _ = scheduled(core)

    async def main():
        running = [
            scheduler.submit(texts_of(program, ["a"], max_tokens=10_000), streamed)
            for streamed in (True, False)
        ]
        await asyncio.sleep(0.05)
        core.broken = True
        with pytest.raises(RequestError, match="the device is lost"):
            await read(running[0])
        with pytest.raises(RequestError, match="the device is lost"):
            await running[1].whole()
        core.broken = False
        await scheduler.submit(texts_of(program, ["a"], max_tokens=5), False).whole()

    asyncio.run(main())
    scheduler.close()


def test_closed_it_ends_what_it_writes_and_takes_nothing():
    scheduler, program, _ = scheduled(ChainCore(0.001, endless=True))

    async def main():
        running = scheduler.submit(texts_of(program, ["a"], max_tokens=100_000), True)
        await asyncio.sleep(0.02)
        await asyncio.to_thread(scheduler.close)
        with pytest.raises(RequestError, match="being unloaded") as ended:
            await read(running)
        assert ended.value.code == "UNAVAILABLE"
        with pytest.raises(RequestError, match="being unloaded"):
            scheduler.submit(texts_of(program, ["a"]), True)

    asyncio.run(main())


def test_nothing_is_written_at_once():
    scheduler, _, _ = scheduled()

    async def main():
        assert await scheduler.submit([], False).whole() == []
        assert await read(scheduler.submit([], True)) == []

    asyncio.run(main())
    scheduler.close()
    assert Bytes.settings["max_tokens"] == 100
