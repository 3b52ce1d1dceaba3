"""JSON whose values keep their bytes: 54.10 stays 54.10. An object is an ordered list of members, a value its raw
text."""

import json

DECODER = json.JSONDecoder()
BLANKS = " \t\r\n"


def plain(text):
    """A string as the program stores it: half a surrogate pair is U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def skip_blanks(text, at):
    while at < len(text) and text[at] in BLANKS:
        at += 1
    return at


def members(text):
    """The members of an object as (name, raw name, raw value), in order, equal names included."""
    found = []
    at = skip_blanks(text, 0)
    assert text[at] == "{", text
    at = skip_blanks(text, at + 1)
    while text[at] != "}":
        name, end = DECODER.raw_decode(text, at)
        raw_name = text[at:end]
        at = skip_blanks(text, end)
        assert text[at] == ":", text
        at = skip_blanks(text, at + 1)
        _, end = DECODER.raw_decode(text, at)
        found.append((plain(name), raw_name, text[at:end]))
        at = skip_blanks(text, end)
        if text[at] == ",":
            at = skip_blanks(text, at + 1)
    return found


def elements(text):
    """The raw values of an array."""
    found = []
    at = skip_blanks(text, skip_blanks(text, 0) + 1)
    while text[at] != "]":
        _, end = DECODER.raw_decode(text, at)
        found.append(text[at:end])
        at = skip_blanks(text, end)
        if text[at] == ",":
            at = skip_blanks(text, at + 1)
    return found


def object_of(raw):
    """The members of an object by name, the last of equal names; {} for what is no object."""
    return {name: value for name, _, value in members(raw)} if raw is not None and raw.startswith("{") else {}


def kind(raw):
    """'string', 'number', 'bool', 'null', 'array' or 'object'."""
    return {'"': "string", "t": "bool", "f": "bool", "n": "null", "[": "array", "{": "object"}.get(raw[0], "number")


def string_of(raw):
    """The text of a string."""
    return plain(json.loads(raw))


def text_of(raw):
    """A string's text; a number, true or false as it is written; None for anything else and for nothing."""
    if raw is None or kind(raw) in ("null", "array", "object"):
        return None
    return string_of(raw) if kind(raw) == "string" else raw


def quote(text):
    return json.dumps(text, ensure_ascii=False)
