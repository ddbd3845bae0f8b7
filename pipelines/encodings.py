"""Which encoding a text file is in: UTF-8 where it is, else what chardet finds in its lines."""

from __future__ import annotations

import codecs
import itertools
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from common.errors import DataError

UTF8 = "utf-8"
ENCODING_HELP = "of files that are not UTF-8, such as cp1251 or gb18030; found if absent"
_BOMS = (  # the longer ones before those that they begin with
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
# Encodings of files that people still have. Those that computers no longer use are left out: a
# guess from a few bytes would fall on one of them.
_KNOWN = (
    "gb18030", "big5hkscs", "cp932", "euc_jis_2004", "iso2022_jp_2", "cp949",
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258",
    "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "koi8-r", "koi8-u", "cp866", "cp874",
)  # fmt: skip
# ISO encodings whose control characters are letters and quotation marks in Windows's.
_OF_WINDOWS = {"iso8859-2": "cp1250", "iso8859-7": "cp1253", "iso8859-9": "cp1254"}
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
# What English and its neighbours have; from a few bytes nothing else can be told.
_WESTERN_LETTERS = frozenset("éèàêëçñïîâôáíóúüöäßÉÀÜÖÄ")
_WESTERN_MARKS = frozenset("€£¥§©®°±²³µ·¼½¾×–—‘’“”•…«»´ªº¿¡™\xa0")
_FEW = 40  # bytes outside ASCII, in different words, that are too few to tell a language
_STRAY = 2  # bytes outside ASCII that are taken for damage where no encoding fits
_SAMPLE = 200_000  # bytes of lines that are looked at
_GROUPS, _LINES = 10, 20  # groups of lines that vote, where there are so many lines
_ODD = 0.2  # of the characters outside ASCII may be drawings and control characters
# Bytes of other encodings make characters of UTF-8 by chance, but not so many times more than not;
# among ASCII they hardly do.
_MORE = 5
_DAMAGE = 0.02  # of the characters outside ASCII may be broken
# Bytes that text in a one-byte encoding does not hold (tab, line ends, form feed, escape excepted).
_CONTROLS = bytes(set(range(32)) - {9, 10, 11, 12, 13, 27}) + b"\x7f"
_CONTROL_LETTERS = re.compile("[\x80-\x9f]")

_MARKED, _MARK = "seqloom-marked", "\udc80"  # an error handler: what does not fit is one mark
codecs.register_error(_MARKED, lambda error: (_MARK, error.end))


@dataclass(frozen=True)
class Fit:
    """How well a file is read in an encoding.

    Attributes:
        encoding: a Python codec name.
        plain: characters of ASCII.
        good: characters outside ASCII.
        bad: places where the bytes are no character.
        line: the first line with such a place, from 1; 0 where there is none.
    """

    encoding: str
    plain: int = 0
    good: int = 0
    bad: int = 0
    line: int = 0

    @property
    def fits(self) -> bool:
        """Whether so little does not fit that it can be damage."""
        return self.bad <= _DAMAGE * self.good


def check_encoding(name: str) -> str:
    """Returns the codec name of an encoding of text, "" for "".

    Raises:
        DataError: Python knows no such encoding of text.
    """
    if not name:
        return ""
    try:
        "".encode(name)  # refuses codecs that are no encodings of text, such as base64
        return codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise DataError(
            f"--encoding {name} is not known; give one as Python names it, such as cp1251, "
            "shift_jis, gb18030, big5, euc_kr or utf-16."
        ) from error


def find_encoding(
    read: Callable[[], Iterable[bytes]],
    name: str,
    wanted: str = "",
    neighbours: Callable[[], Iterable[bytes]] = tuple,
) -> tuple[Fit, int]:
    """Finds the encoding of a file. Bytes that are UTF-8 are read so, whatever is wanted.

    Args:
        read: gives the file's bytes from its beginning, in chunks; called up to a few times.
        name: of the file, for messages.
        wanted: codec name of the encoding of files that are not UTF-8; guessed if "".
        neighbours: gives lines of files that are probably in the same encoding.

    Returns:
        (the encoding and how much of the file does not fit it, the first line that is not UTF-8
        where the encoding was guessed, else 0).

    Raises:
        DataError: the bytes are not text, or fit no encoding, or not the one that is wanted.
    """
    start = next(iter(read()), b"")
    marked = next((codec for mark, codec in _BOMS if start.startswith(mark)), UTF8)
    if marked not in (UTF8, "utf-8-sig"):
        return _checked(_measure(read(), marked), name), 0
    if b"\0" in start:
        return _wide(read, start, name, wanted)
    fit = _measure(_without_nul(read(), name), marked)
    escapes = not fit.good and (b"\x1b$" in start or b"\x1b(" in start)  # ISO 2022 is ASCII
    if wanted == UTF8 or (not fit.bad and fit.good):
        return fit, 0
    if not fit.bad and not escapes and not _is_ascii_alike(wanted):
        return fit, 0
    if fit.bad and fit.good >= fit.bad * (1 if fit.plain >= 3 * fit.good else _MORE):
        return fit, 0
    if wanted:
        found = _measure(read(), wanted)
        return (fit if not found.good and not fit.bad else _checked(found, name)), 0
    if len(start) - len(start.translate(None, _CONTROLS)) > len(start) / 20:
        raise DataError(f"{name} is not text: it is full of control bytes; give a text file.")
    return _guessed(read, fit, name, neighbours)


def _guessed(
    read: Callable[[], Iterable[bytes]],
    fit: Fit,
    name: str,
    neighbours: Callable[[], Iterable[bytes]],
) -> tuple[Fit, int]:
    lines = list(itertools.chain(special_lines(read()), neighbours()))
    for codec in _guesses(lines):
        found = _measure(read(), codec)
        if found.bad and codec in _OF_WINDOWS:
            found = _measure(read(), _OF_WINDOWS[codec])
        if found.fits:
            return (found, fit.line or 1) if found.good else (fit, 0)
    if sum(byte > 127 for line in lines for byte in line) <= _STRAY:
        return fit, 0
    raise DataError(
        f"{name}:{fit.line}: this line is not UTF-8, and no other encoding fits the whole file; "
        "name its encoding with --encoding (cp1251, shift_jis, gb18030, ...), or save it as UTF-8."
    )


def special_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields lines with bytes outside ASCII or with escapes: the first 200 KB of them."""
    size, rest = 0, b""
    for chunk in chunks:
        if chunk.isascii() and b"\x1b" not in chunk and not rest:
            continue
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[:_SAMPLE]
        for line in lines:
            if not line.isascii() or b"\x1b" in line:
                yield line
                size += len(line)
        if size > _SAMPLE:
            return
    if rest:
        yield rest


def _detect(data: bytes, *encodings: str) -> tuple[str, float]:
    """Returns what chardet takes the bytes for, one of the encodings: (codec or "", confidence)."""
    try:
        import chardet
    except ImportError as error:  # a server is installed without it
        raise DataError(
            "A file is not UTF-8, and chardet, which guesses encodings, is not installed: install "
            "it, or name the encoding with --encoding."
        ) from error
    with warnings.catch_warnings():  # it warns where none of the encodings fits
        warnings.simplefilter("ignore", UserWarning)
        found = chardet.detect(data, include_encodings=encodings, max_bytes=len(data) or 1)
    codec = codecs.lookup(found["encoding"]).name if found["encoding"] else ""
    return codec, found["confidence"]


def _guesses(lines: Sequence[bytes]) -> list[str]:
    """Returns encodings of these lines, the likeliest first."""
    text = b"\n".join(lines)
    words = {word for word in text.split() if not word.isascii()}
    few = sum(byte > 127 for word in words for byte in word) <= _FEW
    if words and few and _is_western(text):
        return ["cp1252"]
    # One stray byte rules out the right encoding of all lines together; so groups of them vote.
    groups = [text]
    if len(lines) >= _LINES:
        size = len(lines) // _GROUPS
        groups = [b"\n".join(lines[size * at : size * (at + 1)]) for at in range(_GROUPS)]
    votes: Counter[str] = Counter()
    for group in groups:
        codec, confidence = _detect(group, *_KNOWN)
        votes[codec] += confidence
    ranked = [codec for codec, _ in votes.most_common() if codec and not codec.startswith("utf")]
    return [codec for codec in ranked if _is_writing(text.decode(codec, "replace"))]


def _is_writing(text: str) -> bool:
    """Tells whether what is not ASCII is letters and the like, not boxes and control characters."""
    special = [unicodedata.category(letter) for letter in text if not letter.isascii()]
    odd = sum(kind in ("Cc", "Cn", "Co", "So") for kind in special)
    return odd <= max(2, _ODD * len(special))


def _is_western(text: bytes) -> bool:
    try:
        special = [letter for letter in text.decode("cp1252") if not letter.isascii()]
    except UnicodeDecodeError:
        return False
    letters = sum(letter in _WESTERN_LETTERS for letter in special)
    if any(letter not in _WESTERN_LETTERS | _WESTERN_MARKS for letter in special):
        return False
    return sum(byte < 128 for byte in text) >= 3 * letters


def _measure(chunks: Iterable[bytes], codec: str) -> Fit:
    decoder = codecs.getincrementaldecoder(codec)(errors=_MARKED)
    total, good, bad, first, lines = 0, 0, 0, 0, 1
    for chunk in itertools.chain(chunks, [b""]):
        text = decoder.decode(chunk, final=not chunk)
        if not text.isascii():
            if codec in _OF_WINDOWS:
                text = _CONTROL_LETTERS.sub(_MARK, text)
            marks = text.count(_MARK)
            good += len(text) - len(text.encode("ascii", "ignore")) - marks
            bad += marks
            if marks and not first:
                first = lines + text.count("\n", 0, text.index(_MARK))
        lines += text.count("\n")
        total += len(text)
    return Fit(codec, total - good - bad, good, bad, first)


def _checked(fit: Fit, name: str) -> Fit:
    if not fit.fits:
        raise DataError(
            f"{name}:{fit.line}: this line is not {fit.encoding} ({fit.bad} places in the file are "
            "not); name another encoding with --encoding, or save the file as UTF-8."
        )
    return fit


def _wide(
    read: Callable[[], Iterable[bytes]], start: bytes, name: str, wanted: str
) -> tuple[Fit, int]:
    """Finds which encoding with NUL bytes it is: UTF-16 or UTF-32 without a mark."""
    if wanted and not _is_ascii_alike(wanted):
        return _checked(_measure(read(), wanted), name), 0
    sample = start[: _SAMPLE - _SAMPLE % 4]
    codec, _ = _detect(sample, *_WIDE)
    found = _measure(read(), codec) if codec in _WIDE else None
    if found is None or found.bad or wanted or not _has_breaks(sample.decode(codec, "ignore")):
        raise DataError(
            f"{name} is not text: it holds NUL bytes; give a text file, or name its encoding with "
            "--encoding if it is UTF-16 or UTF-32."
        )
    return found, 1


def _has_breaks(text: str) -> bool:
    """Whether text is short or has a space, a line end or a comma, as any bytes need not."""
    return len(text) < 20 or any(mark.isspace() or mark in ",;\uff0c\u3002" for mark in text)


def _without_nul(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    for chunk in chunks:
        if b"\0" in chunk:
            raise DataError(f"{name} is not text: it holds NUL bytes; give a text file.")
        yield chunk


def _is_ascii_alike(codec: str) -> bool:
    """Tells whether the encoding writes ASCII as it is; so do those that escape from it."""
    return bool(codec) and "a,1\n".encode(codec) == b"a,1\n"
