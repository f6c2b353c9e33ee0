"""The folder of `detect --report`: a page for each video, its PDF, and the index of a batch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fakestormer.cli.options import say
from fakestormer.detection.film import film_name
from fakestormer.errors import InputError, OutputError
from fakestormer.types import Report


class ReportFolder:
    """Written while files are judged. Of the modules of `report` it loads what is used."""

    def __init__(
        self, folder: Path | None, *, inputs: Sequence[Path | str], pdf: bool, overlay: bool
    ) -> None:
        """folder: None writes nothing. inputs: more than one, or a folder, have an index.

        Raises SetupError where a PDF is wanted and no browser can print it.
        """
        self._folder, self._overlay = folder, overlay
        self._has_index = len(inputs) > 1 or any(os.path.isdir(path) for path in inputs)
        self._browser: str | None = None
        self.unprinted = 0
        if pdf:
            from fakestormer.report.pdf import find_browser

            self._browser = find_browser()

    def add(self, report: Report) -> list[str]:
        """Write the files of one video; what to tell of them."""
        if self._folder is None:
            return []
        from fakestormer.report.page import write_report

        page = write_report(report, self._folder)
        lines = [f"  report: {page}"]
        if self._browser is not None:
            lines += self._printed(page, self._browser)
        if self._overlay:
            lines.append(f"  overlay: {self._folder / film_name(report.path, report.sha256)}")
        if self._has_index:
            from fakestormer.report.index import write_thumbnail

            write_thumbnail(report, self._folder)
        return lines

    def _printed(self, page: Path, browser: str) -> list[str]:
        from rich.console import Console

        from fakestormer.report.pdf import write_pdf

        try:
            # A browser takes seconds; said on terminals alone.
            with Console(stderr=True).status(f"printing {page.stem}.pdf"):
                write_pdf(page, browser=browser)
            return [f"  pdf: {page.with_suffix('.pdf')}"]
        except OutputError:
            raise
        except InputError as error:  # this page alone; its report is there
            say(str(error))
            self.unprinted += 1
            return []

    def finish(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Write the index of all files."""
        if self._folder is not None and self._has_index and results:
            from fakestormer.report.index import write_index

            print(f"index: {write_index(results, self._folder)}")
