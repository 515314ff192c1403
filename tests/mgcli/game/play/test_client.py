"""One page's queue: bounded whatever the page does, and sent worse rather than late."""

import asyncio

import numpy as np
import pytest

from mgcli.game.play.client import FIRST_PATIENCE, Client, Pace
from mgcli.game.play.encode import HEADER, LEVELS, Frame

BLOCK = 12


def frames(block: int) -> list[Frame]:
    pixels = np.zeros((16, 16, 3), np.uint8)
    return [Frame(1, block * BLOCK + i, block, 0, (0.0, 0.0), 0.1, 0.0, pixels) for i in range(BLOCK)]


class Sink:
    def __init__(self) -> None:
        self.sent: list[str | bytes] = []

    async def __call__(self, message: str | bytes) -> None:
        self.sent.append(message)

    @property
    def numbers(self) -> list[int]:
        return [HEADER.unpack_from(m)[3] for m in self.sent if isinstance(m, bytes)]


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


def test_a_page_that_answers_gets_every_frame():
    async def scene() -> None:
        client = Client("tab", sink := Sink(), BLOCK)
        task = asyncio.create_task(client.send_until_over())
        for block in range(5):
            client.offer(frames(block))
            await settle()
            client.arrived(client.sent)
        client.close(4001)
        await asyncio.wait_for(task, 1)
        assert sink.numbers == list(range(5 * BLOCK)) and client.dropped == 0

    asyncio.run(scene())


def test_a_page_that_never_answers_gets_a_block_and_nothing_piles_up():
    async def scene() -> None:
        client = Client("tab", sink := Sink(), BLOCK)
        task = asyncio.create_task(client.send_until_over())
        for block in range(100):
            client.offer(frames(block))
            await settle()
            assert len(client._frames) <= BLOCK * 3 // 2
        assert len(sink.numbers) == BLOCK and client.dropped > 100
        client.arrived(BLOCK)
        await settle()
        assert sink.numbers[-1] > 98 * BLOCK, "what is sent afterwards is new"
        task.cancel()

    asyncio.run(scene())


def test_the_latest_state_replaces_one_that_waits():
    async def scene() -> None:
        client = Client("tab", sink := Sink(), BLOCK)
        for i in range(1000):
            client.tell(f"state {i}")
        task = asyncio.create_task(client.send_until_over())
        await settle()
        assert sink.sent == ["state 999"]
        task.cancel()

    asyncio.run(scene())


@pytest.mark.parametrize("frames", [-1, 1])
def test_frames_that_were_not_sent_cannot_arrive(frames: int):
    client = Client("tab", Sink(), BLOCK)
    with pytest.raises(ValueError, match="0 sent"):
        client.arrived(frames)


def test_levels_go_down_with_losses_and_up_with_patience():
    pace, now = Pace(0.0), 0.0
    for step in range(1, len(LEVELS) + 2):
        pace.block(lost=3, now=now)
        assert pace.step == min(step, len(LEVELS) - 1)
    pace.block(lost=0, now=now + FIRST_PATIENCE)
    assert pace.step == len(LEVELS) - 1, "it has failed before: more patience"
    for _ in range(100):
        now += 20
        pace.block(lost=0, now=now)
    assert pace.level == LEVELS[0]


def test_a_page_may_want_less_than_the_best():
    pace = Pace(0.0)
    pace.limit(3)
    pace.block(lost=0, now=1e6)
    assert pace.step == 3
    pace.block(lost=1, now=1e6)
    assert pace.step == 4, "and get less still"
    pace.limit(0)
    assert pace.level == LEVELS[0]


def test_a_worse_level_is_smaller():
    rng = np.random.default_rng(0)
    frame = frames(0)[0]
    frame.pixels = rng.integers(0, 255, (96, 160, 3), np.uint8)
    sizes = [len(frame.jpeg(level)) / level.every for level in LEVELS]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0] / 10
    assert frame.jpeg(LEVELS[0]) is frame.jpeg(LEVELS[0]), "made once for all clients"
