"""The log of requests, read while requests come."""

from __future__ import annotations


class Meddler(str):
    """An id that is counted once more while it is compared, as by another thread."""

    __slots__ = ("log",)

    def __eq__(self, other):
        self.log._calls["recording", f"call_{len(self.log._calls)}"] += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


class MeddlingStatus(int):
    """The same of a status."""

    def __eq__(self, other):
        self.log._statuses["recording", 600 + len(self.log._statuses)] += 1
        return int.__eq__(self, other)

    __hash__ = int.__hash__


async def test_counting_bears_requests_that_come_meanwhile(emulator, ask):
    call = emulator.add_call()
    await ask(emulator, f"/v1/calls/{call.id}/recording", key=False)
    wanted = Meddler(call.id)
    wanted.log = emulator.requests
    assert emulator.requests.count("recording", call_id=wanted) == 1
    status = MeddlingStatus(200)
    status.log = emulator.requests
    assert emulator.requests.count("recording", status=status) == 1
