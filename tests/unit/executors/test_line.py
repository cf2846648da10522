"""The direct line to a warm worker: real sockets, a worker's end in a thread."""

import asyncio
import socket
import struct

from shoal.executors.ray.line import Lines, WorkerLine


async def meet(tmp_path):
    """Return both ends of one line, and the side that takes lines."""
    lines = Lines(str(tmp_path))
    await lines.open()
    worker = await asyncio.to_thread(WorkerLine.open, str(tmp_path))
    line = lines.claim(worker.token)
    assert line is not None
    return lines, line, worker


def test_batches_and_replies_arrive_whole_and_in_order(tmp_path):
    sizes = [0, 1, 100, 70_000, 12 * 1024 * 1024, 3]

    def serve(worker):
        got = []
        while (batch := worker.receive()) is not None:
            got.append(batch[0])
            worker.send(batch[1][::-1])
        return got

    async def main():
        lines, line, worker = await meet(tmp_path)
        replies = []
        arrived = asyncio.Event()

        def take(data):
            replies.append(data)
            if len(replies) == len(sizes):
                arrived.set()

        line.listen(take)
        serving = asyncio.create_task(asyncio.to_thread(serve, worker))
        sent = [bytes([1, 2]) * (size // 2) + b"e" * (size % 2) for size in sizes]
        for number, data in enumerate(sent):
            line.send(f"t{number}" if number % 2 else "", data)
        await asyncio.wait_for(arrived.wait(), 20)
        assert replies == [data[::-1] for data in sent]
        line.close()
        assert await asyncio.wait_for(serving, 10) == ["", "t1", "", "t3", "", "t5"]
        worker.close()
        lines.close()
        await asyncio.sleep(0)  # asyncio closes what was aborted a turn later

    asyncio.run(main())


def test_what_a_worker_sent_before_its_end_is_handed_on_before_the_end_is_told(tmp_path):
    async def main():
        lines, line, worker = await meet(tmp_path)
        replies = []
        line.listen(replies.append)
        await asyncio.to_thread(worker.send, b"last words" * 50_000)
        worker.close()
        await line.ended(5)
        assert replies == [b"last words" * 50_000]
        assert lines.claim(worker.token) is None, "a line is claimed once"
        lines.close()
        await asyncio.sleep(0)  # asyncio closes what was aborted a turn later

    asyncio.run(main())


def test_a_line_that_others_hold_open_is_not_waited_for(tmp_path):
    async def main():
        lines, line, worker = await meet(tmp_path)
        await asyncio.wait_for(line.ended(0.05), 5)
        worker.close()
        line.close()
        lines.close()
        await asyncio.sleep(0)  # asyncio closes what was aborted a turn later

    asyncio.run(main())


def test_what_is_no_worker_is_sent_nothing_and_let_go(tmp_path):
    async def main():
        lines = Lines(str(tmp_path))
        await lines.open()
        stranger = socket.socket(socket.AF_UNIX)
        stranger.settimeout(10)
        await asyncio.to_thread(stranger.connect, str(tmp_path / "line"))
        stranger.sendall(struct.pack("!I", 1 << 29) + b"x" * 100)
        assert await asyncio.to_thread(stranger.recv, 10) == b""
        stranger.close()
        assert not lines.waiting
        late = socket.socket(socket.AF_UNIX)
        late.settimeout(10)
        await asyncio.to_thread(late.connect, str(tmp_path / "line"))
        late.sendall(struct.pack("!I", 5) + b"token")
        assert await asyncio.to_thread(late.recv, 100) == struct.pack("!I", 5) + b"token"
        assert list(lines.waiting) == ["token"]
        late.close()
        async with asyncio.timeout(10):
            while lines.waiting:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        lines.close()
        await asyncio.sleep(0)  # asyncio closes what was aborted a turn later

    asyncio.run(main())


def test_where_nobody_listens_or_no_socket_can_be_there_is_no_line(tmp_path):
    assert WorkerLine.open(str(tmp_path)) is None
    deep = tmp_path / ("d" * 120)
    deep.mkdir()

    async def main():
        lines = Lines(str(deep))
        await lines.open()
        assert lines.claim("token") is None
        lines.close()
        await asyncio.sleep(0)  # asyncio closes what was aborted a turn later

    asyncio.run(main())
