"""Dates and numbers as people write them in five languages, and their ISO form.

    "Tuesday, May 5th, 2009"            2009-05-05
    "le 5 mai 2009"                     2009-05-05
    "der einundzwanzigste März 1987"    1987-03-21
    "doscientos cinco"                  205
    "quarter to five in the morning"    04:45

Nothing says which language a text is in, and what is written last may have to come first: what a
model learns here is to attend. Texts are short, so characters are enough, and all are different.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Mapping

from pipelines.pairs import TextPair

DEFAULT_SIZE = 8_000
_FIRST, _LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)

MONTHS: Mapping[str, str] = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre "
    "dicembre",
}
DAYS: Mapping[str, str] = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "de": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "es": "lunes martes miércoles jueves viernes sábado domingo",
    "it": "lunedì martedì mercoledì giovedì venerdì sabato domenica",
}
# {d} day, {o} English ordinal, {w} day in words, {m} month, {a} its first three letters, {y} year,
# {wd} day of the week.
DATE_FORMS: Mapping[str, tuple[str, ...]] = {
    "en": ("{d} {m} {y}", "{m} {d}, {y}", "{m} {o}, {y}", "the {o} of {m} {y}",
           "{wd}, {m} {d}, {y}", "{wd} {d} {a} {y}", "{a} {d} {y}", "{y}, {m} {d}", "{d}-{a}-{y}"),
    "de": ("{d}. {m} {y}", "{wd}, {d}. {m} {y}", "{wd}, den {d}. {m} {y}", "{d}. {a}. {y}",
           "der {w} {m} {y}", "am {d}. {m} {y}"),
    "fr": ("{d} {m} {y}", "le {d} {m} {y}", "{wd} {d} {m} {y}", "le {wd} {d} {m} {y}"),
    "es": ("{d} de {m} de {y}", "el {d} de {m} de {y}", "{wd}, {d} de {m} de {y}", "{d} {a} {y}"),
    "it": ("{d} {m} {y}", "il {d} {m} {y}", "{wd} {d} {m} {y}"),
}  # fmt: skip


def synthetic_pairs(size: int, seed: int) -> list[TextPair]:
    """Different texts and their ISO form.

    Args:
        size: number of pairs.
        seed: any integer; the same seed gives the same pairs.
    """
    draw = random.Random(f"translation-{seed}")
    found: dict[str, str] = {}
    while len(found) < size:
        kind = draw.random()
        make = _date if kind < 0.6 else _number if kind < 0.85 else _time
        text, target = make(draw)
        found.setdefault(text, target)
    return [TextPair(text, target) for text, target in found.items()]


def _date(draw: random.Random) -> tuple[str, str]:
    day = _FIRST + datetime.timedelta(draw.randrange((_LAST - _FIRST).days + 1))
    language = draw.choice(tuple(DATE_FORMS))
    month = MONTHS[language].split()[day.month - 1]
    text = draw.choice(DATE_FORMS[language]).format(
        d=day.day, o=english_ordinal(day.day), w=german_ordinal(day.day), m=month, a=month[:3],
        y=day.year, wd=DAYS[language].split()[day.weekday()],
    )  # fmt: skip
    return _as_typed(draw, text), day.isoformat()


def _number(draw: random.Random) -> tuple[str, str]:
    # As many of each length: small numbers would else be rare.
    number = draw.randrange(10 ** draw.randint(1, 6))
    return _as_typed(draw, draw.choice(tuple(NUMBERS.values()))(number)), str(number)


def _time(draw: random.Random) -> tuple[str, str]:
    hour, minute = draw.randrange(24), 5 * draw.randrange(12)
    text = draw.choice((_english_time, _german_time, _french_time))(hour, minute, draw)
    return _as_typed(draw, text), f"{hour:02}:{minute:02}"


def _as_typed(draw: random.Random, text: str) -> str:
    """Now and then in another case."""
    chance = draw.random()
    if chance < 0.1:
        return text.upper() if "ß" not in text else text
    return text.lower() if chance < 0.25 else text


def english_ordinal(day: int) -> str:
    """1 to "1st"."""
    ending = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


def german_ordinal(day: int) -> str:
    """21 to "einundzwanzigste"."""
    short = {1: "erste", 3: "dritte", 7: "siebte", 8: "achte"}
    return short.get(day) or german(day) + ("te" if day < 20 else "ste")


# ---- numbers below a million, in words


def _words(text: str) -> list[str]:
    return text.split()


_EN = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_EN_TENS = _words("- - twenty thirty forty fifty sixty seventy eighty ninety")
_DE = _words(
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn "
    "fünfzehn sechzehn siebzehn achtzehn neunzehn"
)
_DE_TENS = _words("- - zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")
_FR = _words(
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize "
    "dix-sept dix-huit dix-neuf"
)
_FR_TENS = _words("- - vingt trente quarante cinquante soixante")
_ES = _words(
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
    "dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés "
    "veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve"
)
_ES_TENS = _words("- - - treinta cuarenta cincuenta sesenta setenta ochenta noventa")
_ES_HUNDREDS = _words(
    "- ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos "
    "novecientos"
)


def english(number: int) -> str:
    """205 to "two hundred and five"."""
    if number < 20:
        return _EN[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _EN_TENS[tens] + (f"-{_EN[ones]}" if ones else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{_EN[hundreds]} hundred" + (f" and {english(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    between = " and " if 0 < rest < 100 else " "
    return f"{english(thousands)} thousand" + (f"{between}{english(rest)}" if rest else "")


def german(number: int) -> str:
    """205 to "zweihundertfünf"."""
    if number < 20:
        return _DE[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return (f"{_german_one(ones)}und" if ones else "") + _DE_TENS[tens]
    unit, word = (100, "hundert") if number < 1000 else (1000, "tausend")
    count, rest = divmod(number, unit)
    before = _german_one(count) if count < 20 else german(count)
    return before + word + (german(rest) if rest else "")


def _german_one(number: int) -> str:
    return "ein" if number == 1 else german(number)


def french(number: int) -> str:
    """205 to "deux cent cinq"."""
    if number < 20:
        return _FR[number]
    if number < 70:
        tens, ones = divmod(number, 10)
        return _FR_TENS[tens] + (" et un" if ones == 1 else f"-{_FR[ones]}" if ones else "")
    if number < 80:
        return "soixante" + (" et onze" if number == 71 else f"-{_FR[number - 60]}")
    if number < 100:
        return "quatre-vingts" if number == 80 else f"quatre-vingt-{_FR[number - 80]}"
    unit, word = (100, "cent") if number < 1000 else (1000, "mille")
    count, rest = divmod(number, unit)
    before = "" if count == 1 else f"{french(count)} "
    if unit == 1000 and before.endswith(("cents ", "vingts ")):
        before = f"{before[:-2]} "  # the plural is at the end of a number only
    plural = "s" if unit == 100 and count > 1 and not rest else ""
    return f"{before}{word}{plural}" + (f" {french(rest)}" if rest else "")


def spanish(number: int) -> str:
    """205 to "doscientos cinco"."""
    if number < 30:
        return _ES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _ES_TENS[tens] + (f" y {_ES[ones]}" if ones else "")
    if number == 100:
        return "cien"
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return _ES_HUNDREDS[hundreds] + (f" {spanish(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    before = "" if thousands == 1 else f"{_before_thousand(spanish(thousands))} "
    return f"{before}mil" + (f" {spanish(rest)}" if rest else "")


def _before_thousand(words: str) -> str:
    """Ends in "un" and not in "uno"."""
    if words.endswith("veintiuno"):
        return words.removesuffix("veintiuno") + "veintiún"
    return words.removesuffix("o") if words.endswith("uno") else words


NUMBERS: Mapping[str, Callable[[int], str]] = {
    "en": english, "de": german, "fr": french, "es": spanish
}  # fmt: skip


# ---- times of day, in steps of five minutes


def _english_time(hour: int, minute: int, draw: random.Random) -> str:
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    if draw.random() < 0.3:
        return f"{(hour - 1) % 12 + 1}:{minute:02} {'am' if hour < 12 else 'pm'}"
    named = {0: "{h} o'clock", 15: "quarter past {h}", 30: "half past {h}", 45: "quarter to {n}"}
    form = named.get(minute) or ("{m} past {h}" if minute < 30 else "{k} to {n}")
    words = {"h": _EN[(hour - 1) % 12 + 1], "n": _EN[hour % 12 + 1]}
    return f"{form.format(**words, m=english(minute), k=english(60 - minute))} {part}"


def _german_time(hour: int, minute: int, draw: random.Random) -> str:
    part = "morgens" if hour < 12 else "nachmittags" if hour < 18 else "abends"
    if draw.random() < 0.3:
        return f"{hour}.{minute:02} Uhr"
    named = {0: "{h} Uhr", 15: "Viertel nach {h}", 30: "halb {n}", 45: "Viertel vor {n}"}
    form = named.get(minute) or ("{m} nach {h}" if minute < 30 else "{k} vor {n}")
    hours = {"h": _DE[(hour - 1) % 12 + 1], "n": _DE[hour % 12 + 1]}
    if not minute and hours["h"] == "eins":
        hours["h"] = "ein"
    return f"{form.format(**hours, m=german(minute), k=german(60 - minute))} {part}"


def _french_time(hour: int, minute: int, draw: random.Random) -> str:
    if draw.random() < 0.3:
        return f"{hour} h {minute:02}"
    word = "une" if hour == 1 else "vingt et une" if hour == 21 else french(hour)
    heures = "heure" if hour < 2 else "heures"
    return f"{word} {heures}" + (f" {french(minute)}" if minute else "")
