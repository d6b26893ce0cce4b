"""Deliveries of boards that lose their network in the middle."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from bootwright.logs.io.ingest import PATH, IngestServer
from bootwright.logs.io.quotas import trouble_of
from bootwright.logs.io.store import LogStore

DEADLINE_S = 20.0
"""Longer than every delivery takes here, and shorter than the collector waits for one."""


class Upload:
    """A delivery of a board that has not sent anything of the body yet."""

    def __init__(self, board: str) -> None:
        transport = Mock(asyncio.Transport)
        certificate = {"subject": ((("commonName", board),),)}
        transport.get_extra_info.side_effect = {"peercert": certificate}.get
        self.body = StreamReader(Mock(), 1 << 16, loop=asyncio.get_running_loop())
        self.request = make_mocked_request("POST", PATH, transport=transport, payload=self.body)

    async def answer(self, server: IngestServer) -> web.StreamResponse:
        found = await server.application().router.resolve(self.request)
        return await found.handler(self.request)


@pytest.mark.parametrize("lost", [ConnectionResetError(104, "reset"), OSError(113, "no route")])
def test_a_lost_connection_is_no_trouble_of_the_logs(tmp_path: Path, lost: OSError) -> None:
    store, messages = LogStore(tmp_path / "logs"), list[str]()
    server = IngestServer(store, messages.append)

    async def lose() -> None:
        upload = Upload("odroid")
        upload.body.feed_data(b"1 s <13>1 - x p")
        upload.body.set_exception(lost)
        await upload.answer(server)

    asyncio.run(lose())
    assert (trouble_of(store, "odroid", datetime.now(UTC)), messages) == ((), [])
    assert store.boards() == ()


def test_boards_that_hang_in_a_delivery_do_not_stop_the_others(tmp_path: Path) -> None:
    server = IngestServer(LogStore(tmp_path / "logs"), lambda _: None)

    async def deliver() -> int:
        hanging = [
            asyncio.create_task(Upload(f"lost-{number}").answer(server)) for number in range(40)
        ]
        # The other one comes after them.
        await asyncio.sleep(0)
        upload = Upload("odroid")
        upload.body.feed_data(b"1 s <13>1 - x p 1 - - text\n")
        upload.body.feed_eof()
        try:
            return (await asyncio.wait_for(upload.answer(server), DEADLINE_S)).status
        finally:
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)

    assert asyncio.run(deliver()) == 200
