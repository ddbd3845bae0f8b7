"""The JSON that TensorFlow Serving reads: RapidJSON's dialect, errors and pretty-printing.

Against RFC 8259 it also takes `NaN`, `Inf` and `Infinity` with an optional minus, keeps the first
of duplicate keys, stops reading when the top-level value ends, and lets raw bytes that are not
UTF-8 through in strings (here as surrogate escapes, so that they encode back to themselves).

Python's own C scanner does the work wherever it cannot disagree with RapidJSON; a plain
state machine, the same one as RapidJSON's iterative parser, decides the rest and words the errors.
"""

import json
import re
from array import array
from collections.abc import Iterator
from json.decoder import scanstring

import numpy as np

from serving.errors import RequestError

# Tensors nest as deep as their rank, and NumPy stops at 32; this also bounds all recursion here.
MAX_NESTING = 32
_ECHO_LIMIT = 256

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"(-?)(NaN|Inf(?:inity)?)")
# The part of a string in which nothing needs checking; the bound on escapes bounds re's memory.
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*(?:\\["\\/bfnrt][^"\\\x00-\x1f]*){0,1000}')
_HEX = re.compile(r"[0-9a-fA-F]{4}")

# Where the two parsers could disagree: escaped surrogates, and numbers beyond a double. The latter
# are looked for where all digits are zeros and all letters of exponents small: for plain bytes a
# search takes a microsecond, for a pattern dozens.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ALIKE = bytes.maketrans(b"123456789ED", b"000000000ed")
_LARGE_NUMBERS = b"e000", b"e+000", b"0" * 300

_EMPTY = "The document is empty."
_INVALID = "Invalid value."
_NO_NAME = "Missing a name for object member."
_NO_COLON = "Missing a colon after a name of object member."
_NO_CURLY = "Missing a comma or } after an object member."
_NO_SQUARE = "Missing a comma or ] after an array element."

# A state of the strict parser is what stood before the next token; its value is RapidJSON's
# complaint when that token does not fit.
_START, _COLON, _ARRAY_OPEN, _ARRAY_COMMA, _ELEMENT = "start", "colon", "[", "[,", "element"
_OBJECT_OPEN, _OBJECT_COMMA, _KEY, _MEMBER = "{", "{,", "key", "member"
_COMPLAINT = {
    _START: _EMPTY,
    _COLON: _INVALID,
    _ARRAY_OPEN: _INVALID,
    _ARRAY_COMMA: _INVALID,
    _ELEMENT: _NO_SQUARE,
    _OBJECT_OPEN: _NO_NAME,
    _OBJECT_COMMA: _NO_NAME,
    _KEY: _NO_COLON,
    _MEMBER: _NO_CURLY,
}


class _SyntaxFault(Exception):
    """A RapidJSON message and the character offset it belongs to."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


def parse(body: bytes) -> object:
    """Parses the first JSON value of a request body; whatever follows it is ignored.

    Integers beyond 64 bits may come back as `int`; readers must treat them as numbers without
    an integer type, as `integer_in` does.

    Args:
        body: UTF-8 JSON text, with or without a byte order mark.

    Returns:
        dict, list, str, int, float, bool or None. Strings hold surrogate escapes for bytes that
        are not UTF-8.

    Raises:
        RequestError: RapidJSON's message and byte offset, or nesting beyond `MAX_NESTING`.
    """
    if not body:
        raise RequestError("JSON Parse error: The document is empty")
    check_nesting(body)
    bom = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    text = body[bom:].decode("utf-8", "surrogateescape")
    if not _is_suspect(body):
        try:
            return _DECODER.raw_decode(text, _SPACE.match(text).end())[0]
        except ValueError:
            pass  # The strict parser says whether RapidJSON would take it, and if not, why.
    try:
        return _parse_strictly(text)
    except _SyntaxFault as fault:
        offset = bom + len(text[: fault.position].encode("utf-8", "surrogateescape"))
        raise RequestError(f"JSON Parse error: {fault.message} at offset: {offset}") from None


def _is_suspect(body: bytes) -> bool:
    alike = body.translate(_ALIKE)
    if any(number in alike for number in _LARGE_NUMBERS):
        return True
    return b"\\ud" in alike and _SURROGATE.search(body) is not None


def check_nesting(body: bytes, limit: int = MAX_NESTING) -> None:
    """Refuses lists and objects nested deeper than `limit`, before any recursive code sees them.

    Brackets inside strings do not count. One linear pass in bounded memory, whatever the body.

    Raises:
        RequestError: INVALID_ARGUMENT; TensorFlow Serving has no such limit.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    # Escape pairs go first, left to right, so that every quote left opens or closes a string.
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(None, delete=_NOT_STRUCTURE)
    depth, in_string = 0, 0
    for start in range(0, len(marks), 1 << 20):
        chunk = np.frombuffer(marks, np.uint8, min(1 << 20, len(marks) - start), start)
        quoted = (np.cumsum(chunk == ord('"'), dtype=np.int32) + in_string) & 1
        steps = np.where(quoted, 0, _STEP[chunk])
        depths = depth + np.cumsum(steps, dtype=np.int32)
        if depths.max() > limit:
            raise RequestError(f"JSON Parse error: Nested deeper than {limit} levels.")
        depth, in_string = int(depths[-1]), int(quoted[-1])


_NOT_STRUCTURE = bytes(sorted(set(range(256)) - set(b'"[]{}')))
_STEP = np.zeros(256, np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


def _first_wins(pairs: list) -> dict:
    """RapidJSON's FindMember returns the first of several members with one name."""
    members = dict(pairs)
    if len(members) != len(pairs):
        members = {}
        for name, value in pairs:
            members.setdefault(name, value)
    return members


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins)


def _parse_strictly(text: str) -> object:
    """RapidJSON's iterative parser: one state, one explicit stack, no recursion."""
    stack: list[tuple[object, str | None]] = []  # open containers; for objects the pending name
    state, position = _START, 0
    while True:
        position = _SPACE.match(text, position).end()
        token = text[position : position + 1]
        name = None
        if state in (_START, _COLON, _ARRAY_OPEN, _ARRAY_COMMA):
            if token and token in "[{":
                stack.append(([], None) if token == "[" else ({}, None))
                state, position = (_ARRAY_OPEN if token == "[" else _OBJECT_OPEN), position + 1
                continue
            if token == "]" and state == _ARRAY_OPEN:
                value, position = stack.pop()[0], position + 1
            elif token in ("", "\0") or token in ",:]}":
                raise _SyntaxFault(_COMPLAINT[state], position)
            else:
                value, position = _parse_scalar(text, position)
        elif token == '"' and state in (_OBJECT_OPEN, _OBJECT_COMMA):
            name, position = _parse_string(text, position)
            stack[-1] = (stack[-1][0], name)
            state = _KEY
            continue
        elif (state, token) in _SIMPLE_MOVES:
            state, position = _SIMPLE_MOVES[state, token], position + 1
            continue
        elif (state, token) in _CLOSES:
            value, position = stack.pop()[0], position + 1
        else:
            raise _SyntaxFault(_COMPLAINT[state], position)
        if not stack:
            return value
        container, name = stack[-1]
        if isinstance(container, list):
            container.append(value)
            state = _ELEMENT
        else:
            container.setdefault(name, value)
            state = _MEMBER


_SIMPLE_MOVES = {
    (_KEY, ":"): _COLON,
    (_MEMBER, ","): _OBJECT_COMMA,
    (_ELEMENT, ","): _ARRAY_COMMA,
}
_CLOSES = {(_OBJECT_OPEN, "}"), (_MEMBER, "}"), (_ELEMENT, "]")}


def _parse_scalar(text: str, start: int) -> tuple[object, int]:
    """A string, literal or number at `start`: its value and where it ends."""
    if text[start] == '"':
        return _parse_string(text, start)
    for word, value in (("true", True), ("false", False), ("null", None)):
        if text[start] == word[0]:
            end = start + _common_prefix(text, start, word)
            if end < start + len(word):
                raise _SyntaxFault(_INVALID, end)
            return value, end
    return _parse_number(text, start)


def _common_prefix(text: str, start: int, word: str) -> int:
    """How many characters of `word` stand at `start`; RapidJSON reports where it stopped."""
    count = 0
    while count < len(word) and text[start + count : start + count + 1] == word[count]:
        count += 1
    return count


def _parse_number(text: str, start: int) -> tuple[int | float, int]:
    """An int where the literal is one and fits 64 bits, else a float; never an overflow."""
    special = _NOT_FINITE.match(text, start)
    if special:
        end = special.end()
        if special[2] == "Inf" and text[end : end + 1] == "i":
            raise _SyntaxFault(_INVALID, end + _common_prefix(text, end, "inity"))
        value = float("nan") if special[2] == "NaN" else float("inf")
        return (-value if special[1] else value), end
    match = _NUMBER.match(text, start)
    if not match:
        begin = start + (text[start] == "-")
        word = "NaN" if text[begin : begin + 1] == "N" else "Inf"
        raise _SyntaxFault(_INVALID, begin + _common_prefix(text, begin, word))
    end = match.end()
    following = text[end : end + 1]
    if following == "." and match[1] is None and match[2] is None:
        raise _SyntaxFault("Miss fraction part in number.", end + 1)
    if following in ("e", "E") and match[2] is None:
        signed = text[end + 1 : end + 2] in ("+", "-")
        raise _SyntaxFault("Miss exponent in number.", end + 1 + signed)
    if match[1] is None and match[2] is None and end - start <= 20:
        value = int(match[0])
        if -(2**63) <= value < 2**64:
            return value, end
    value = float(match[0])
    if value in (float("inf"), float("-inf")):
        raise _SyntaxFault("Number too big to be stored in double.", start)
    return value, end


def _parse_string(text: str, start: int) -> tuple[str, int]:
    """The string whose opening quote is at `start`."""
    try:
        value, end = scanstring(text, start + 1, True)
    except ValueError:
        end = None
    if end is None or "\\u" in text[start:end]:
        _check_string(text, start + 1)
    return value, end


def _check_string(text: str, position: int) -> None:
    """Raises RapidJSON's fault for the first thing wrong in a string body, if anything is."""
    while True:
        position = _PLAIN.match(text, position).end()
        character = text[position : position + 1]
        if character == '"':
            return
        if character in ("", "\0"):
            raise _SyntaxFault("Missing a closing quotation mark in string.", position)
        if character != "\\":
            raise _SyntaxFault("Invalid encoding in string.", position)
        escape, position = position, position + 2
        kind = text[escape + 1 : escape + 2]
        if kind == "u":
            code, position = _hex_escape(text, position, escape), position + 4
            if 0xD800 <= code <= 0xDFFF:
                low = text[position : position + 2] == "\\u" and code <= 0xDBFF
                low_code = _hex_escape(text, position + 2, escape) if low else 0
                if not 0xDC00 <= low_code <= 0xDFFF:
                    raise _SyntaxFault("The surrogate pair in string is invalid.", escape)
                position += 6
        elif kind == "" or kind not in '"\\/bfnrt':
            raise _SyntaxFault("Invalid escape character in string.", escape)


def _hex_escape(text: str, position: int, escape: int) -> int:
    """The four hex digits at `position` as a number."""
    digits = _HEX.match(text, position)
    if not digits:
        raise _SyntaxFault("Incorrect hex digit after \\u escape in string.", escape)
    return int(digits[0], 16)


def integer_in(value: object, low: int, high: int) -> bool:
    """Whether a parsed value is an integer literal in [low, high]; True and 1.0 are not."""
    return type(value) is int and low <= value <= high


def echo(value: object) -> str:
    """A value as error messages show it: RapidJSON's 4-space pretty form, cut at 256 characters."""
    if type(value) is float and abs(value) <= 3.4028234e38:
        # A lone decimal that fits goes through float32, so 0.123456789 echoes as 0.123456791.
        return decimals(np.array([value], np.float32))[0]
    text = ""
    for piece in _pretty(value, "\n"):
        text += piece
        if len(text) > _ECHO_LIMIT:
            return text[:_ECHO_LIMIT] + "..."
    return text


def _pretty(value: object, newline: str) -> Iterator[str]:
    """Pieces of the pretty form, lazily: an echoed body may be megabytes long."""
    if isinstance(value, (dict, list)):
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        inner = newline + "    "
        separator = opening + inner
        for item in value:
            yield separator
            separator = "," + inner
            if isinstance(value, dict):
                yield json.dumps(item, ensure_ascii=False) + ": "
            yield from _pretty(value[item] if isinstance(value, dict) else item, inner)
        yield newline + closing if value else opening + closing
    elif isinstance(value, str):
        yield json.dumps(value[: _ECHO_LIMIT + 1], ensure_ascii=False)
    elif isinstance(value, float) or (
        type(value) is int and not integer_in(value, -(2**63), 2**64 - 1)
    ):
        yield decimals(np.array([value], np.float64))[0]
    else:
        yield json.dumps(value)


def decimals(values: np.ndarray) -> list[str]:
    """Numbers as TensorFlow Serving writes them: shortest of `%g` and full precision.

    Six significant digits if those read back as the same number in the array's own type, else
    nine (float32) or seventeen (float64); always with `.` or `e`, so that readers see a decimal.

    Args:
        values: `<float32>` or `<float64>[n]`.

    Returns:
        n texts, such as `0.1`, `0.333333343`, `2.0`, `9e+06`, `-0.0`, `NaN`, `-Infinity`.
    """
    # Not by NumPy: most answers hold a handful of numbers, and each of its calls costs as much.
    kind, digits = ("f", 9) if values.dtype == np.float32 else ("d", 17)
    numbers = values.tolist()
    texts = [f"{number:g}" for number in numbers]
    read_back = array(kind, map(float, texts)).tolist()
    if read_back != numbers:
        texts = [
            text if back == number else f"{number:.{digits}g}"
            for text, back, number in zip(texts, read_back, numbers, strict=True)
        ]
    return [_NAMED.get(t) or (t if "." in t or "e" in t else t + ".0") for t in texts]


_NAMED = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
