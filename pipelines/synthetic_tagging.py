"""Sentences with names, and commands to an assistant: the offline defaults of tagging and intent.

In both, the same words are other things in other places, so that a lexicon does not do:

- **names** are invented, and each may be a person, a place, an organisation, a product, or nothing
  at all ("a horse called Velmar"). What a name is follows from words before or far behind it ("Tosk
  and Velmar , two villages" holds two places, "Tosk and Velmar , the law firm" one organisation),
  and long names hold short ones ("University of Velmar"). Four in ten names occur once.
- **commands** fill their slots with one another's words: a song is called "table for two", a
  message says when somebody comes, "seven" is a time, a number of guests or a part of a title.

There is no noise: what stands in a sentence determines its tags and its intent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from common.errors import DataError
from pipelines.draws import Draws
from pipelines.tagged import TaggedExample

DEFAULT_SIZE = 3000
MAX_SIZE = 100_000
KNOWN_NAMES = 160
NEW_NAME = 0.4

_ONSETS = ("b", "br", "d", "dr", "f", "g", "h", "j", "k", "kr", "l", "m", "n", "p", "r", "s", "st",
           "t", "tr", "v", "w", "z")  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ee", "o")
_CODAS = ("", "l", "m", "n", "r", "s", "sk", "rt", "nd", "x")

# What a name is made into, by the kind of thing that it is then.
_LONG = {
    "PER": ("{n} {n}", "Dr. {n}", "{n}", "{n}", "Ms. {n}", "{n} van {n}"),
    "LOC": ("{n}", "{n}", "Lake {n}", "{n} Bridge", "Port {n}", "{n} {n} Airport"),
    "ORG": ("{n}", "{n}", "University of {n}", "{n} Post", "Bank of {n}", "{n} and {n}",
            "{n} Airways"),
    "PROD": ("{n}", "{n}", "{n} 3", "{n} Mini", "{n} of {n}"),
}  # fmt: skip
_SENTENCES = (
    "{PER} met {PER} in {LOC} on {day} .",
    "{PER} , who grew up near {LOC} , now works for {ORG} .",
    "shares of {ORG} fell by {number} percent on {day} .",
    "on {day} {ORG} hired {PER} as its new {job} .",
    "{ORG} said that it would close its office in {LOC} .",
    "the road from {LOC} to {LOC} is closed until {day} .",
    "the mayor of {LOC} thanked {PER} for the speech .",
    "{n:PER} and {n:PER} , two {siblings} , moved here last year .",
    "{n:LOC} and {n:LOC} , two villages on the coast , had no power on {day} .",
    "{n} and {n} :ORG , the law firm , opened an office on {day} .",
    "{n:PROD} and {n:PROD} , two phones of last year , sold badly .",
    "{PER} bought a {PROD} for {number} dollars .",
    "the new {PROD} by {ORG} costs {number} dollars .",
    "{ORG} will sell the {PROD} from {day} on .",
    "my {siblings} would not drive a {PROD} through {LOC} .",
    "a horse called {n} won in {LOC} .",
    "the word {n} means nothing to the people of {LOC} .",
    "nobody knows who painted {n} , a picture of {number} old boats .",
    "{PER} sings in a choir at {LOC} , {ORG} reports .",
    "according to {ORG} , {PER} left {LOC} with the last {PROD} .",
    "it rained in {LOC} for {number} days , and {PER} stayed at home .",
    "the {job} of {ORG} , {PER} , did not speak on {day} .",
    "there are {number} hotels in {LOC} and none of them is open .",
    "we flew with {ORG} and not with {ORG} to {LOC} .",
    "{PER} wrote to {ORG} about a broken {PROD} .",
)
_FILLERS = {
    "day": ("Monday", "Tuesday", "Friday", "Sunday", "the first of May", "a cold day in March"),
    "number": ("two", "seven", "12", "300", "forty", "1,500"),
    "job": ("director", "lawyer", "president", "editor", "driver"),
    "siblings": ("brothers", "sisters", "cousins"),
}
_PLACE = re.compile(r"\{n:(\w+)\}|\{n\} and \{n\} :ORG|\{(\w+)\}")

_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "ten")
_TIMES = ("{number}", "{number}", "half past {number}", "{number} in the evening",
          "{number} thirty", "noon")  # fmt: skip
_DATES = ("today", "tomorrow", "on friday", "next monday", "this weekend")
_CITIES = ("boston", "austin", "paris", "lima", "new york", "san jose", "rome", "oslo")
_PEOPLE = ("anna", "paris", "austin", "tom", "mister lee", "my sister", "lima", "jo")
_ITEMS = ("milk", "two lemons", "bread", "seven eggs", "rice", "coffee", "the rome guide")
_LISTS = ("shopping", "weekend", "paris", "work", "friday")
_SONGS = ("table for two", "seven by seven", "rain in {city}", "call me at {time}",
          "from {city} to {city}", "wake me up", "friday night", "message to {person}",
          "milk and honey")  # fmt: skip
_ARTISTS = ("the alarm clocks", "{person} and the rain", "boston", "the night table",
            "sister {city}", "seven eggs")  # fmt: skip
_MESSAGES = ("i will be there at {time}", "book a table for {number}",
             "the weather in {city} is bad", "play it again", "we need {item}",
             "wake me at {time}", "see you {date}")  # fmt: skip
_COMMANDS = {
    "book_table": (
        "book a table for {party_size:number} at {time:time}",
        "a table at {time:time} for {party_size:number} {date:date}",
        "i need a place to eat in {city:city} for {party_size:number} {date:date}",
        "can you get us a table in {city:city} at {time:time}",
        "we are {party_size:number} , find us a restaurant {date:date}",
        "{party_size:number} , in the end that is how many of us want to eat",
        "{city:city} , of all places , is where we want to have dinner",
    ),
    "play_music": (
        "play {song:song}",
        "play {song:song} by {artist:artist}",
        "put on something by {artist:artist}",
        "i want to hear {song:song}",
        "start {song:song} of {artist:artist} at {time:time}",
        "{artist:person} , after all this time i want to hear a song of theirs",
        "{song:message} , i think that is the song to put on",
    ),
    "set_alarm": (
        "wake me at {time:time}",
        "wake me up {date:date} at {time:time}",
        "set an alarm for {time:time} {date:date}",
        "make sure that i am up by {time:time}",
        "{time:time} , in the end that is when i have to get up",
    ),
    "send_message": (
        "tell {person:person} that {message:message}",
        "send {person:person} a message {message:message}",
        "write to {person:person} {message:message}",
        "let {person:person} know that {message:message}",
        "{person:person} , after all this time i want to send a message to",
        "{message:message} , i think that is what you should write to {person:person}",
    ),
    "get_weather": (
        "how is the weather in {city:city} {date:date}",
        "will it rain in {city:city} at {time:time}",
        "do i need an umbrella in {city:city}",
        "{date:date} in {city:city} , is it cold",
        "{city:city} , of all places , is where i need an umbrella or not",
    ),
    "find_route": (
        "how do i get from {origin:city} to {destination:city}",
        "to {destination:city} from {origin:city} please , i must be there at {time:time}",
        "the way to {destination:city} {date:date}",
        "drive me to {destination:city}",
        "{destination:city} , of all places , is where you must drive me",
    ),
    "add_to_list": (
        "put {item:item} on the {list:list} list",
        "add {item:item} to my {list:list} list",
        "i am out of {item:item}",
        "remind me to buy {item:item} {date:date}",
    ),
}
_WORDS = {"number": _NUMBERS, "time": _TIMES, "date": _DATES, "city": _CITIES, "person": _PEOPLE,
          "item": _ITEMS, "list": _LISTS, "song": _SONGS, "artist": _ARTISTS,
          "message": _MESSAGES}  # fmt: skip
_BEFORE = ("", "", "", "please", "hey", "could you please", "well ,")
_AFTER = ("", "", "", "please", "thanks", "if you can")
_SLOT = re.compile(r"\{(\w+):(\w+)\}|\{(\w+)\}")

Tagged = list[tuple[str, str]]


def synthetic_entities(size: int = DEFAULT_SIZE, seed: int = 0) -> list[TaggedExample]:
    """Generates distinct sentences with the names of persons, places, organisations and products.

    Args:
        size: how many, 10 to 100000.
        seed: any integer.

    Raises:
        DataError: ``size`` is out of range.
    """
    draws = Draws(seed)
    known = [_invented(draws) for _ in range(KNOWN_NAMES)]

    def name() -> str:
        return _invented(draws) if draws.chance(NEW_NAME) else draws.pick(known)

    def sentence() -> tuple[Tagged, str]:
        words = _sentence(draws.pick(_SENTENCES), draws, name)
        first, tag = words[0]
        return [(first[:1].upper() + first[1:], tag), *words[1:]], ""

    return _distinct(size, sentence)


def synthetic_commands(size: int = DEFAULT_SIZE, seed: int = 0) -> list[TaggedExample]:
    """Generates distinct commands with an intent and slots.

    Args:
        size: how many, 10 to 100000.
        seed: any integer.

    Raises:
        DataError: ``size`` is out of range.
    """
    draws = Draws(seed)
    intents = tuple(_COMMANDS)

    def command() -> tuple[Tagged, str]:
        intent = draws.pick(intents)
        words = _command(draws.pick(_COMMANDS[intent]), draws)
        before, after = draws.pick(_BEFORE).split(), draws.pick(_AFTER).split()
        return [*((w, "O") for w in before), *words, *((w, "O") for w in after)], intent

    return _distinct(size, command)


def _distinct(size: int, make: Callable[[], tuple[Tagged, str]]) -> list[TaggedExample]:
    if not 10 <= size <= MAX_SIZE:
        raise DataError(
            f"synthetic data of {size} examples cannot be made: ask for 10 to {MAX_SIZE}, as in "
            f"synthetic:{DEFAULT_SIZE}."
        )
    examples: list[TaggedExample] = []
    seen: set[tuple[str, ...]] = set()
    while len(examples) < size:
        words, intent = make()
        tokens, tags = zip(*words, strict=True)
        if tokens not in seen:
            seen.add(tokens)
            line = len(examples) + 1
            examples.append(TaggedExample(tokens, tags, intent, file="synthetic", line=line))
    return examples


def _invented(draws: Draws) -> str:
    """A name of two or three syllables."""
    parts = [draws.pick(_ONSETS) + draws.pick(_VOWELS) for _ in range(2 + draws.chance(0.3))]
    return ("".join(parts) + draws.pick(_CODAS)).capitalize()


def _span(kind: str, words: Sequence[str]) -> Tagged:
    return [(word, f"{'I' if i else 'B'}-{kind}") for i, word in enumerate(words)]


def _sentence(template: str, draws: Draws, name: Callable[[], str]) -> Tagged:
    words: Tagged = []
    at = 0
    for place in _PLACE.finditer(template):
        words += [(word, "O") for word in template[at : place.start()].split()]
        at = place.end()
        kind, filler = place[1], place[2]
        if kind:  # one short name
            words += _span(kind, [name()])
        elif filler is None:
            words += _span("ORG", [name(), "and", name()])
        elif filler in _LONG:
            long = draws.pick(_LONG[filler])
            words += _span(filler, [name() if w == "{n}" else w for w in long.split()])
        else:
            given = name() if filler == "n" else draws.pick(_FILLERS[filler])
            words += [(word, "O") for word in given.split()]
    return words + [(word, "O") for word in template[at:].split()]


def _command(template: str, draws: Draws) -> Tagged:
    words: Tagged = []
    at = 0
    for place in _SLOT.finditer(template):
        words += [(word, "O") for word in template[at : place.start()].split()]
        at = place.end()
        words += _span(place[1], _phrase(place[2], draws))
    return words + [(word, "O") for word in template[at:].split()]


def _phrase(kind: str, draws: Draws) -> list[str]:
    """Words of a kind; phrases hold phrases."""
    text = draws.pick(_WORDS[kind])
    while place := _SLOT.search(text):
        inner = " ".join(_phrase(place[3], draws))
        text = f"{text[: place.start()]}{inner}{text[place.end() :]}"
    return text.split()
