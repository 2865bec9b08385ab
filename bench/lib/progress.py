# SPDX-License-Identifier: MIT
"""One line that says what is measured now and how long it will take."""

import sys
import time


class Progress:
    def __init__(self, stream=sys.stderr):
        self.stream = stream
        self.total = 0.0
        self.done = 0.0
        self.current = 0.0
        self.started = time.monotonic()

    def begin(self, total):
        self.total = total
        self.started = time.monotonic()

    def step(self, text, seconds):
        """The step before this one is done; this one will take about `seconds`."""
        self.done += self.current
        self.current = seconds
        spent = time.monotonic() - self.started
        left = max(0.0, self.total - self.done)
        # Once there is something to go by: as slow as it was so far.
        if self.done > 30:
            left *= min(max(spent / self.done, 0.5), 5)
        line = f"[{min(99, 100 * self.done / max(1, self.total)):3.0f}%, {int(left) // 60:2}:{int(left) % 60:02} left] {text}"
        if self.stream.isatty():
            self.stream.write(f"\r\033[K{line[:118]}")
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def end(self):
        if self.stream.isatty():
            self.stream.write("\r\033[K")
            self.stream.flush()
