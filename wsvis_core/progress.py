"""Progress with rate and time left: a bar on a terminal, a plain line every 30 s in a log file, and a note."""

from __future__ import annotations

import logging
import sys
import time

from tqdm import tqdm

from wsvis_core import notes

SECONDS_BETWEEN_LINES = 30.0
log = logging.getLogger(__name__)


class Progress:
    """Counts `advance()` calls towards `total`; `start` steps were done by an earlier attempt."""

    def __init__(self, name: str, *, total: int, unit: str, start: int = 0) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done, self._start = start, start
        self._began = self._last_line = time.monotonic()
        self._bar = tqdm(total=total, initial=start, desc=name, unit=unit) if sys.stderr.isatty() else None
        self._note = notes.current()
        if self._note is not None:
            self._note.begin(total, unit, start)

    def advance(self, note: str = "") -> None:
        """One step is done; `note` (e.g. the loss) is shown beside it."""
        self._done += 1
        if self._note is not None and (self._note.due() or self._done == self._total):
            self._note.write(self._done, self._total, self._start, self._unit, note)
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update()
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            log.info("%s", self._line(note))

    def close(self) -> None:
        """One closing line: how many, how long."""
        if self._bar is not None:
            self._bar.close()
        seconds = time.monotonic() - self._began
        log.info("%s: %d %ss in %.1f s", self._name, self._done - self._start, self._unit, seconds)

    def _line(self, note: str) -> str:
        rate = (self._done - self._start) / (time.monotonic() - self._began)
        left = (self._total - self._done) / rate
        text = f"{self._name}: {self._done}/{self._total} {self._unit}s, {rate:.2f}/s, {left / 60:.1f} min left"
        return f"{text}, {note}" if note else text
