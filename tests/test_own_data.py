"""Every command of docs/own_data runs, in order, on a file of the form that its page shows."""

import json
import random
import re
import shlex
import subprocess
import sys
import wave
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import seqloom

PAGES = Path(__file__).resolve().parents[1] / "docs" / "own_data"
FENCES = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.S | re.M)
# Small, so that all pages take minutes; what is shown is whether the commands fit the file.
SMALL = {"epochs": 1, "units": 8, "layers": 1}


def of_page(name):
    """(language, title, content) of each fence of a page."""
    return FENCES.findall((PAGES / f"{name}.md").read_text(encoding="utf-8"))


def tone(path, notes, rate=8000):
    path.parent.mkdir(exist_ok=True)
    time = np.arange(rate // 4) / rate
    parts = [np.sin(2 * np.pi * (300 if note == "low" else 900) * time) for note in notes]
    noise = np.random.default_rng(len(str(path))).normal(0, 0.01, len(time) * len(parts))
    sound = (0.5 * np.concatenate(parts) + noise) * 32767
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(sound.astype("<i2").tobytes())


def tickets(rng):
    words = {"billing": "invoice charged refund", "access": "login password page",
             "shipping": "parcel late courier"}  # fmt: skip
    for row in range(150):
        queue = list(words)[row % 3]
        one, two = (rng.choice(words[queue].split()) for _ in range(2))
        yield f"my {one} number {row},the {two} is not right again,{queue}\n"


def commands(rng):
    for row in range(150):
        device, room = rng.choice(["lamp", "fan", "radio"]), rng.choice(["hall", "kitchen"])
        first = f"turn the {device} in the {room} on"
        text = first if row % 2 else f"how warm is it in the {room}"
        found = [(device, "device"), (room, "room")] if row % 2 else [(room, "room")]
        spans = [
            {"start": text.index(word), "end": text.index(word) + len(word), "label": label}
            for word, label in found
        ]
        intent = "switch_on" if row % 2 else "ask_temperature"
        yield json.dumps({"text": text, "intent": intent, "entities": spans}) + "\n"


def names(rng):
    for number in range(150):
        first, last = rng.choice(["Ann", "Bob", "Eve"]), rng.choice(["Lee", "Moss"])
        place, verb = rng.choice(["Oslo", "Lima"]), rng.choice(["lives", "works"])
        tokens = [(first, "B-PER"), (last, "I-PER"), (verb, "O"), ("in", "O"), (place, "B-PLACE")]
        yield "".join(f"{number},{word},{tag}\n" for word, tag in tokens)


def rhymes(rng):
    for _ in range(300):
        yield f"the {rng.choice(['cat', 'dog'])} sat on the {rng.choice(['mat', 'log', 'hat'])}\n"


NUMBERS = ("01", "03", "04", "05", "06", "07", "08", "10")


def dates(rng):
    months = ["January", "March", "April", "May", "June", "July", "August", "October"]
    for _ in range(200):
        day, month, year = rng.randint(1, 28), rng.randint(0, 7), rng.randint(1950, 2030)
        yield f"{day} {months[month]} {year},{year}-{NUMBERS[month]}-{day:02d}\n"


def sales(rng):
    for day in range(400):
        date = np.datetime64("2023-01-01") + day
        yield f"{date},{100 + 10 * (day % 7) + rng.gauss(0, 2):.1f},{900 + day % 7}\n"


def sensors(rng):
    for row in range(1200):
        time = str(np.datetime64("2024-01-01T00:00") + 10 * row).replace("T", " ")
        warm = 20 + np.sin(row / 20) + rng.gauss(0, 0.1) + (8 if 1000 < row < 1006 else 0)
        yield f"{time},{warm:.2f},{1 + rng.gauss(0, 0.01):.3f}\n"


def clips(rng):
    for row in range(60):
        label = ("low", "high")[row % 2]
        tone(Path(f"clips/{row}.wav"), [label])
        yield f"clips/{row}.wav,{label}\n"


def calls(rng):
    for row in range(60):
        said = [rng.choice(["low", "high"]) for _ in range(rng.randint(1, 3))]
        tone(Path(f"clips/{row}.wav"), said)
        yield f"clips/{row}.wav,{' '.join(said)}\n"


def tunes(rng):
    chords = [[60, 64, 67], [62, 65, 69], [55, 59, 62], [57, 60, 64]]
    yield json.dumps([[rng.choice(chords) for _ in range(16)] for _ in range(40)])


def write_data(name, title, shown):
    """Writes a file of the form that a page shows: its header, and more rows."""
    maker = globals()[Path(title).stem]
    header = shown.splitlines(keepends=True)[0] if title.endswith(".csv") else ""
    Path(title).write_text(header + "".join(maker(random.Random(0))), encoding="utf-8")


def lines_of(content):
    return [line for line in content.replace("\\\n", " ").splitlines() if line.strip()]


def run_seqloom(words, monkeypatch):
    if words[0] == "train":
        words = [*words, *(f"--{name}={value}" for name, value in SMALL.items())]
    monkeypatch.setattr(sys, "argv", ["seqloom", *words])
    with pytest.raises(SystemExit) as end:
        seqloom.main()
    assert not end.value.code, words


def served(words, asking):
    """Serves as the page says, on a free port, and asks as it says."""
    words[words.index("--rest-port") + 1] = "0"
    command = [sys.executable, "-m", "seqloom", *words, "--grpc-port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = json.loads(server.stdout.readline())["rest_port"]
        asking = asking.replace("localhost:8501", f"127.0.0.1:{port}")
        done = subprocess.run(["bash", "-c", asking], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    finally:
        server.terminate()
        server.wait(30)


ALL = sorted(path.stem for path in PAGES.glob("*.md") if path.stem != "README")


def test_each_kind_has_a_page_and_the_index_names_it():
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert {name for name in ALL if f"({name}.md)" in index} == set(ALL)
    commands = "".join(content for name in ALL for _, _, content in of_page(name))
    tasks = set(re.findall(r"seqloom train (\w+)", commands))
    assert tasks == set(seqloom.tasks().index) - {"sentiment"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_commands_of_a_page_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (_, title, shown), *rest = of_page(name)
    assert title, "a page begins with the file"
    write_data(name, title, shown)
    shells = [content for language, _, content in rest if language == "sh"]
    serving = [
        shlex.split(line) for block in shells for line in lines_of(block) if " serve " in line
    ]
    asking = [line for block in shells for line in lines_of(block) if line.startswith("curl")]
    for block in shells:
        for line in lines_of(block):
            if line.startswith("seqloom") and " serve " not in line:
                run_seqloom(shlex.split(line)[1:], monkeypatch)
    answer = served(serving[0][1:], asking[0])
    assert set(answer) & {"predictions", "outputs", "metadata"}
    assert list(tmp_path.glob("runs/*/report.html"))
    monkeypatch.setattr(seqloom, "train", partial(seqloom.train, **SMALL), raising=False)
    code = [content for language, _, content in rest if language == "python"]
    assert len(code) == 1
    exec(compile(code[0], f"{name}.md", "exec"), {})
