# SPDX-License-Identifier: MIT
"""What was measured: one value a round for each name, and what they say together."""

import statistics


def summary(values):
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


class Results:
    """Names are paths, as in net/1cpu/echo1024/udrv/0.50/echoes_per_s."""

    def __init__(self):
        self.values = {}
        self.notes = {}
        self.absent = {}
        self.kernel = None

    def add(self, name, value, unit, better=None):
        entry = self.values.setdefault(name, {"unit": unit, "better": better, "values": []})
        entry["values"].append(value)

    def note(self, name, value):
        self.notes[name] = value

    def get(self, name):
        entry = self.values.get(name)
        return summary(entry["values"]) if entry else None

    def ratio(self, above, below):
        """Of two names, pair by pair of one round, so that what slowed both cancels out."""
        a, b = self.values.get(above), self.values.get(below)
        if not a or not b:
            return None
        pairs = zip(a["values"], b["values"])
        return summary([x / y for x, y in pairs if x is not None and y])

    def as_json(self):
        return {name: {**entry, **(summary(entry["values"]) or {})} for name, entry in sorted(self.values.items())}
