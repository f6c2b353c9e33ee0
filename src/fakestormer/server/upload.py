"""Multipart uploads are written to disk as they arrive, and refused above the limit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from fakestormer.errors import first_complaint
from fakestormer.server.limits import MIB
from fakestormer.server.options import JobOptions

#: Fields of the form: a video, and the options of the videos after it.
FIELD, OPTIONS = "video", "options"
#: Seconds without data after which an upload is refused.
PATIENCE = 60.0
_WRITTEN_AT_ONCE = MIB
_LONGEST_OPTIONS = 4096
#: Room for the boundaries and headers around a file, and its options.
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


@dataclass(slots=True)
class Upload:
    """A video that arrives. name: as its sender calls it. size: bytes so far."""

    path: Path
    file: BinaryIO
    name: str
    options: JobOptions
    size: int = 0

    def finish(self) -> None:
        """Write it out to the disk."""
        if not self.file.closed:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()


async def receive(
    request: Request, new_path: Callable[[], Path], *, limit: int, most: int
) -> list[Upload]:
    """Write the parts "video" of a form to disk, each with the options before it.

    new_path: where the next video goes. limit: bytes of one. most: videos of a form.
    Raises RefusedError for a damaged or incomplete form, for wrong options and for a file above
    the limit; OSError where the disk is full or fails. The caller then removes what was written.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most * (limit + _AROUND):
        raise too_large(limit)
    form = _Form(request.headers.get("content-type", ""), new_path, limit, most)
    chunks = request.stream().__aiter__()
    try:
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
            if form.held >= _WRITTEN_AT_ONCE:
                await asyncio.to_thread(form.write)
        form.close()
        await asyncio.to_thread(form.write)
        for upload in form.uploads:
            await asyncio.to_thread(upload.finish)
    finally:
        for upload in form.uploads:
            upload.file.close()
    return form.uploads


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


class _Form:
    """A form while it is parsed. held: bytes of files that are not written yet."""

    def __init__(
        self, content_type: str, new_path: Callable[[], Path], limit: int, most: int
    ) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 70:
            raise RefusedError(
                415, f'send the file as multipart/form-data, in a field named "{FIELD}"'
            )
        self.uploads: list[Upload] = []
        self.held = 0
        self._new_path, self._limit, self._most = new_path, limit, most
        self._content: list[tuple[Upload, bytes]] = []
        self._options = JobOptions()
        self._field_name = ""
        self._text = b""
        self._header = self._value = self._disposition = b""
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
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise RefusedError(400, "this is not a multipart form") from error

    def write(self) -> None:
        """Write what is held."""
        for upload, content in self._content:
            upload.file.write(content)
        self._content.clear()
        self.held = 0

    def close(self) -> None:
        if not self.uploads or not self._ended:
            raise RefusedError(400, f'the form is cut off, or has no file in a field "{FIELD}"')

    def _begin(self) -> None:
        self._header = self._value = self._disposition = self._text = b""

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
        self._field_name = options.get(b"name", b"").decode("utf-8", errors="replace")
        if self._field_name == OPTIONS:
            return
        if self._field_name != FIELD or len(self.uploads) == self._most:
            how = "one file alone" if self._most == 1 else f"at most {self._most} files"
            raise RefusedError(400, f'send {how}, in a field named "{FIELD}"')
        name = options.get(b"filename", b"").decode("utf-8", errors="replace")
        path = self._new_path()
        file = path.open("xb")  # closed by `receive`
        self.uploads.append(Upload(path, file, name, self._options))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field_name == OPTIONS:
            self._text += data[start:end]
            if len(self._text) > _LONGEST_OPTIONS:
                raise RefusedError(422, f"{OPTIONS}: longer than {_LONGEST_OPTIONS} bytes")
            return
        upload = self.uploads[-1]
        upload.size += end - start
        if upload.size > self._limit:
            raise too_large(self._limit)
        self._content.append((upload, data[start:end]))
        self.held += end - start

    def _part_end(self) -> None:
        if self._field_name != OPTIONS:
            return
        try:
            self._options = JobOptions.model_validate_json(self._text)
        except ValidationError as error:
            field, reason = first_complaint(error)
            raise RefusedError(422, f"{OPTIONS}: {field}: {reason}") from error

    def _end(self) -> None:
        self._ended = True
