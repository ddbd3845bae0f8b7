"""Directories of searches that nobody ran, and pages taken apart."""

import json
import re
from html.parser import HTMLParser

from tuning.leaderboard import read_search

VOID = {"meta", "img", "br", "hr", "link", "input"}


def write_search(directory, rows, histories=None, **about):
    """A search's directory: each trial is a dict of what differs from a completed one."""
    for number, trial in enumerate(rows):
        name = f"{number:04d}"
        record = {
            "trial": name, "state": "COMPLETED", "values": {}, "score": None, "spread": None,
            "epochs": 3, "best_epoch": 2, "seconds": 10.0, "parameters": None, "latency_ms": None,
            "ended_at": 10.0 * (number + 1), "seed": number, "parent": None, "bracket": None,
            "round": None, "message": None, "attempts": [{}], **trial,
        }  # fmt: skip
        place = directory / "trials" / name
        (place / "run-0").mkdir(parents=True)
        (place / "trial.json").write_text(json.dumps(record), encoding="utf-8")
        if histories:
            (place / "run-0" / "history.csv").write_text(histories(number), encoding="utf-8")
    directory.mkdir(exist_ok=True)
    plan = {"mode": "max", "metric": "val_accuracy", "task": "sentiment", **about}
    (directory / "search.json").write_text(json.dumps(plan), encoding="utf-8")
    return read_search(directory)


class Whole(HTMLParser):
    """Fails where an element is closed that is not open; collects texts and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.rows, self.elements = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    @property
    def attributes(self):
        return [(tag, *pair) for tag, found in self.elements for pair in found.items()]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))
