"""Which server works on which job, where several servers share a folder of jobs.

store/jobs/ID/claim-N   the id of a server: the one with the highest N works on the job
store/servers/SERVER    written again while the server lives, with the progress of its jobs

A claim is a file that only one can create, which holds on NFS too. A server is dead when its file
has stayed the same for so many looks; then its claim gives way to the next number. Looks are
counted, not seconds: clocks may differ, and one that slept itself must not declare others dead.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fakestormer.files import PARTIAL
from fakestormer.server.jobs import Progress

#: Looks without a sign of life after which a server's jobs are taken over.
LEASE = 20
#: Looks after which the sign of life is given again, where nothing else changed.
_BEAT = 5


class Claims:
    """The claims of one server on the jobs of a folder, and what the other servers do."""

    def __init__(self, folder: Path) -> None:
        self.server = secrets.token_hex(8)
        #: The progress of the jobs of other servers, as of the last look.
        self.progress: dict[str, Progress] = {}
        self._jobs, self._servers = folder / "jobs", folder / "servers"
        self._sign = self._servers / self.server
        self._looks = 0
        self._told: Mapping[str, Progress] = {}
        #: What each server's file held, and for how many looks.
        self._signs: dict[str, tuple[bytes, int]] = {}

    def take(self, job_id: str) -> bool:
        """Claim a job; whether it is this server's now. False for one that was deleted."""
        number, owner = self._highest(job_id)
        if owner == self.server:
            return True
        if number and not self._is_dead(owner):
            return False
        try:
            with (self._jobs / job_id / f"claim-{number + 1}").open("x") as file:
                file.write(self.server)
        except (FileExistsError, FileNotFoundError):
            return False
        return True

    def is_mine(self, job_id: str) -> bool:
        """Whether this server works on the job, and none has taken it over."""
        return self._highest(job_id)[1] == self.server

    def release(self, job_id: str) -> None:
        """Give up a claim, the highest last: until then nobody else takes the job."""
        number, owner = self._highest(job_id)
        for earlier in range(1, number + 1) if owner == self.server else ():
            (self._jobs / job_id / f"claim-{earlier}").unlink(missing_ok=True)

    def is_abandoned(self, job_id: str) -> bool:
        """Whether the server that claimed a job is dead, or has not claimed it for as long."""
        return self._is_dead(self._highest(job_id)[1])

    def look(self, progress: Mapping[str, Progress]) -> None:
        """Give a sign of life with the progress of this server's jobs, and look for others'.

        Raises OSError.
        """
        if self._looks % _BEAT == 0 or progress != self._told:
            shown = {job_id: stage.model_dump() for job_id, stage in progress.items()}
            partial = self._servers / f".{self.server}{PARTIAL}"
            partial.write_text(json.dumps({"looks": self._looks, "progress": shown}))
            partial.replace(self._sign)
            self._told = dict(progress)
        self._looks += 1
        self.progress = {}
        names = {path.name for path in self._servers.glob("[!.]*")} | self._signs.keys()
        for name in names - {self.server}:
            sign, looks = self._signs.get(name, (b"", 0))
            with suppress(OSError):  # ended well, or was being written
                now = (self._servers / name).read_bytes()
                sign, looks = now, -1 if now != sign else looks
            self._signs[name] = sign, looks + 1
            if looks >= LEASE:
                (self._servers / name).unlink(missing_ok=True)
            else:
                self.progress |= _progress(sign)

    def leave(self) -> None:
        """Remove the sign of life; the claims are given up already."""
        self._sign.unlink(missing_ok=True)

    def _is_dead(self, server: str) -> bool:
        """One that was not met before is watched from now on."""
        return self._signs.setdefault(server, (b"", 0))[1] >= LEASE

    def _highest(self, job_id: str) -> tuple[int, str]:
        """The number of the claim that counts, and whose it is; 0 where there is none."""
        number = max(
            (int(path.name[6:]) for path in (self._jobs / job_id).glob("claim-*")), default=0
        )
        with suppress(OSError):
            owner = (self._jobs / job_id / f"claim-{number}").read_text()
            if owner:
                return number, owner
        return number, job_id  # gone meanwhile, or not written yet: watched under the job's name


def _progress(sign: bytes) -> dict[str, Progress]:
    try:
        shown = json.loads(sign)["progress"]
        return {job_id: Progress.model_validate(stage) for job_id, stage in shown.items()}
    except (KeyError, ValueError):  # empty: not looked at before
        return {}
