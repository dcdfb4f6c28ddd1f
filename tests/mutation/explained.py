"""Mutants that no test can tell from the original, each with the reason."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """
    One changed line.

    Attributes:
        function: As ``module.function`` or ``module.Class.function``.
        before, after: The line, without its indentation.
        why: It cannot be observed.
    """

    function: str
    before: str
    after: str
    why: str = field(default="", compare=False)


EXPLAINED = frozenset(
    {
        Survivor(
            function="naming.printable",
            before="head = text[: limit + 1]",
            after="head = text[: limit + 2]",
            why="one character more than fits is cut off as two more are",
        ),
        Survivor(
            function="naming.printable",
            before='head = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in head)',
            after='head = "".join(c if c.isprintable() else c.encode("UNICODE_ESCAPE").decode() for c in head)',
            why="names of codecs have no case",
        ),
        Survivor(
            function="naming._fault_of",
            before='literal = _FIELD.sub("", template)',
            after='literal = _FIELD.sub("XXXX", template)',
            why="it is searched for braces, backslashes and what cannot be seen: an X is none",
        ),
        Survivor(
            function="naming._fault_of",
            before='"{" + "".join(unknown[:1]) + "} is not one of its fields, " + ", ".join(_WIDTHS): unknown,',
            after='"{" + "XXXX".join(unknown[:1]) + "} is not one of its fields, " + ", ".join(_WIDTHS): unknown,',
            why="nothing stands between the elements of a list of one",
        ),
        Survivor(
            function="naming._fault_of_segments",
            before='longest = _FIELD.sub(lambda match: "x" * _WIDTHS[match[1]], segment)',
            after='longest = _FIELD.sub(lambda match: "X" * _WIDTHS[match[1]], segment)',
            why="only its length counts",
        ),
        Survivor(
            function="wav.prove",
            before="head = read_at(0, min(12, total_bytes))",
            after="head = read_at(0, min(13, total_bytes))",
            why="the thirteenth byte is not looked at",
        ),
        Survivor(
            function="wav._prove_sized",
            before="survey.notes.append(f\"RIFF size {'long' if excess > 0 else 'short'} by {abs(excess)}\")",
            after="survey.notes.append(f\"RIFF size {'long' if excess >= 0 else 'short'} by {abs(excess)}\")",
            why="an excess of 0 does not get there",
        ),
        Survivor(
            function="wav._walk",
            before="has_pad = size % 2 == 1 and body_end < total_bytes",
            after="has_pad = size % 2 == 1 and body_end <= total_bytes",
            why="the walk ends there either way, and an end one byte behind counts as the end",
        ),
        Survivor(
            function="wav._take",
            before="survey.format = read_at(start, min(size, 40))",
            after="survey.format = read_at(start, min(size, 41))",
            why="the forty-first byte is not looked at",
        ),
        Survivor(
            function="wav._audio",
            before='form = survey.format or b""',
            after='form = survey.format or b"XXXX"',
            why="four bytes are too short a format as none are",
        ),
        Survivor(
            function="wav._audio",
            before="if tag == _EXTENSIBLE and form[26:40] == _SUBTYPE_TAIL:",
            after="if tag == _EXTENSIBLE and form[26:41] == _SUBTYPE_TAIL:",
            why="a format has forty bytes at most",
        ),
        Survivor(
            function="wav._audio",
            before='tag = int.from_bytes(form[24:26], "little")',
            after='tag = int.from_bytes(form[24:27], "little")',
            why="the next byte is the first of the GUID's tail, which is 0",
        ),
        Survivor(
            function="policy.retry_after_s",
            before='raw = (answer.retry_after or "").strip()',
            after='raw = (answer.retry_after or "XXXX").strip()',
            why="neither is a number or a date",
        ),
        Survivor(
            function="policy._is_identity",
            before='return (content_encoding or "identity").strip().lower() in {"", "identity"}',
            after='return (content_encoding or "IDENTITY").strip().lower() in {"", "identity"}',
            why="it is compared in lower case",
        ),
    }
)
