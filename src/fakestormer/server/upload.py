"""A multipart upload is written to disk as it arrives, and refused above the limit."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from fakestormer.server.limits import MIB

FIELD = "video"
#: Seconds without data after which an upload is refused.
PATIENCE = 60.0
_WRITTEN_AT_ONCE = MIB
#: Room for the boundaries and headers around a file.
_AROUND = 64 * 2**10
#: Bytes that are read and dropped before a refusal, so that the client reads the answer.
_DRAINED = 8 * MIB
_DRAINED_SECONDS = 2.0


class RefusedError(Exception):
    """An upload that is not taken: an HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


async def receive(request: Request, target: Path, *, limit: int) -> tuple[str, int]:
    """Write the part "video" of a form to `target`; returns its file name and its size in bytes.

    Raises RefusedError for a damaged or incomplete form and for a file above `limit` bytes;
    OSError where the disk is full or fails. The caller then removes what was written.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit + _AROUND:
        raise too_large(limit)
    form = _Form(request.headers.get("content-type", ""), limit)
    chunks = request.stream().__aiter__()
    with target.open("xb") as file:
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), PATIENCE)
            except StopAsyncIteration:
                break
            except TimeoutError as error:
                raise RefusedError(408, f"nothing arrived for {PATIENCE:.0f} s") from error
            except ClientDisconnect as error:
                raise RefusedError(400, "the upload ended early") from error
            form.feed(chunk)
            if len(form.content) >= _WRITTEN_AT_ONCE:
                await asyncio.to_thread(file.write, form.taken())
        form.close()
        await asyncio.to_thread(file.write, form.taken())
        await asyncio.to_thread(_to_disk, file.fileno())
    return form.name, form.size


def too_large(limit: int) -> RefusedError:
    """The refusal of a file above `limit` bytes."""
    return RefusedError(
        413, f"the file is larger than {limit / MIB:g} MiB, the most that this server takes"
    )


async def drain(request: Request) -> None:
    """Read and drop some of a refused upload, so that the client reads the answer."""
    if request.headers.get("expect", "").lower() == "100-continue":
        return  # it waits before it sends
    seen = 0

    async def read() -> None:
        nonlocal seen
        async for chunk in request.stream():
            seen += len(chunk)
            if seen > _DRAINED:
                return

    try:
        await asyncio.wait_for(read(), _DRAINED_SECONDS)
    except (TimeoutError, ClientDisconnect, RuntimeError):  # RuntimeError: read to its end before
        return


def _to_disk(number: int) -> None:
    os.fsync(number)


class _Form:
    """A form while it is parsed. content: bytes of the file that are not written yet."""

    def __init__(self, content_type: str, limit: int) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 70:
            raise RefusedError(
                415, f'send the file as multipart/form-data, in a field named "{FIELD}"'
            )
        self.name = ""
        self.size = 0
        self.content = bytearray()
        self._limit = limit
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._parts = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._valued,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise RefusedError(400, "this is not a multipart form") from error

    def taken(self) -> bytes:
        content = bytes(self.content)
        self.content.clear()
        return content

    def close(self) -> None:
        if self._parts != 1 or not self._ended:
            raise RefusedError(400, f'the form is cut off, or has no file in a field "{FIELD}"')

    def _begin(self) -> None:
        self._parts += 1
        self._header = self._value = self._disposition = b""
        if self._parts > 1:
            raise RefusedError(400, f'send one file alone, in a field named "{FIELD}"')

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _valued(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode():
            raise RefusedError(400, f'send one file alone, in a field named "{FIELD}"')
        self.name = options.get(b"filename", b"").decode("utf-8", errors="replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.size += end - start
        if self.size > self._limit:
            raise too_large(self._limit)
        self.content += data[start:end]

    def _end(self) -> None:
        self._ended = True
