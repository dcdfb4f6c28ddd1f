"""Values that try to be more than a value, and how each of them may look on the wire."""

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""What a URL may hold as it is (RFC 3986, 2.3)."""

WORDS = {
    "query": "x?limit=1",
    "fragment": "x#y",
    "ampersand": "x&redacted=true",
    "equals": "x=y",
    "semicolon": "x;y=1",
    "slash": "a/b",
    "slashes": "//evil.example/",
    "backslash": "a\\b",
    "parent": "../v1",
    "parents": "../../etc/passwd",
    "dotted": "..;/x",
    "dots": "...",
    "percent": "%",
    "percents": "%%",
    "encoded parent": "%2e%2e",
    "encoded slash": "..%2fx",
    "encoded twice": "%252e%252e%252f",
    "encoded NUL": "x%00y",
    "encoded CRLF": "x%0d%0aX-Evil:%201",
    "CRLF": "x\r\nX-Evil: 1",
    "CRLF CRLF": "x\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil",
    "request line": "x HTTP/1.1\r\nX-Evil: 1\r\nX: ",
    "LF": "x\ny",
    "CR": "x\ry",
    "NUL": "x\0y",
    "tab": "x\ty",
    "vertical tab": "x\vy",
    "form feed": "x\fy",
    "escape": "\x1b[31mx",
    "title": "\x1b]0;owned\x07",
    "bell": "\x07",
    "delete": "x\x7f",
    "C1": "x\x85\x9b31my",
    "space": "a b",
    "blanks": " x ",
    "blank": " ",
    "plus": "a+b",
    "at": "me@evil.example",
    "colon": "a:80",
    "URL": "https://evil.example/x",
    "userinfo": "me:pw@h",
    "brackets": "[::1]",
    "template": "{agent}",
    "shell": "$(touch x)",
    "backtick": "`touch x`",
    "single quote": "it's",
    "double quote": 'a"b',
    "angle": "<script>",
    "pipe": "a|b",
    "caret": "a^b",
    "star": "*",
    "exclamation": "!x",
    "parentheses": "(x)",
    "comma": "a,b",
    "option": "-rf",
    "long option": "--out=x",
    "formula": "=1+1",
    "accent": "Zo\u00eb",
    "decomposed": "Zoe\u0308",
    "Chinese": "\u5ba2\u670d",
    "emoji": "\U0001f4de",
    "fullwidth": "\uff0e\uff0e\uff0f",
    "digits": "\u0663\u0664",
    "bidi": "x\u202egpj",
    "isolate": "\u2066x\u2069",
    "zero width": "a\u200bb",
    "no-break": "a\u00a0b",
    "BOM": "\ufeffx",
    "line separator": "x\u2028y",
    "paragraph separator": "x\u2029y",
    "combining": "\u0301",
    "private": "\ue000",
    "last": "\U0010fffd",
    "SQL": "x'; DROP TABLE recordings;--",
    "long": "x" * 6000,
    "long accents": "\u00eb" * 1500,
    "number": "007",
    "true": "true",
    "comment": "x # y",
}
"""Each is encoded to the letter, or refused before anything is asked."""

REFUSED = {"empty": "", "dot": ".", "dot dot": "..", "half a character": "x\ud800"}
"""No encoding makes a path segment of them that every server takes for one."""


def encoded(text: str) -> str:
    """Spell a text as one path segment, or one value of a query."""
    octets = text.encode("utf-8")
    return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in octets)


def toml_text(text: str) -> str:
    """Spell a text as a TOML string of printable ASCII."""
    signs = (c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08X}" for c in text)
    return '"' + "".join(signs) + '"'
