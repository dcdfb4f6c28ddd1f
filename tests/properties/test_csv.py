"""The CSV source against Python's own reader: the same rows on the same lines."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.errors import UsageError
from bulkaudio.naming import is_conversation_id
from tests.test_csv_file import ENCODINGS, parse, pieces_of

CELLS = st.sampled_from(["", "x", " ", 'say "no"', "a\nb", "a\r\nb", "two\n\nlines", "é,;\t|", '"'])
GOOD = st.from_regex(r"CA[a-f0-9._-]{0,9}[0-9]", fullmatch=True)
BAD = st.sampled_from(["no id", "a/b", "..", "CA1 CA2", "é", "=1+1", "CA\n1", "x" * 129])
ROWS = st.lists(st.tuples(CELLS, GOOD | GOOD | BAD, CELLS), min_size=1, max_size=25)


def lines_of(text: str, delimiter: str) -> tuple[list[str], list[str]]:
    """Let Python read it: the good ids, and where the rows without one begin."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    ids, places = [], []
    next(reader)
    line = reader.line_num
    for row in reader:
        if is_conversation_id(row[1].strip()):
            ids.append(row[1].strip())
        else:
            places.append(f"line {line + 1}")
        line = reader.line_num
    return ids, places


@given(
    ROWS,
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.tuples(st.sampled_from(sorted(ENCODINGS)), st.integers(), st.integers(1, 60)),
)
def test_rows_and_their_lines_are_python_s(
    rows: list[tuple[str, str, str]],
    delimiter: str,
    line_end: str,
    arrival: tuple[str, int, int],
) -> None:
    """In every dialect, encoding and rhythm of arrival: equal ids, and bad rows by the same lines."""
    encoding, seed, largest = arrival
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerow(["what", "Conversation ID", "so"])
    writer.writerows(rows)
    data = ENCODINGS[encoding] + out.getvalue().encode(encoding)
    found = parse(pieces_of(data, seed, largest))
    ids, places = lines_of(out.getvalue(), delimiter)
    assert found.ids == ids
    assert [each.where for each in found.rejected] == places


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"id\n", b"id,x\n", b"\xff\xfe", b"\xef\xbb\xbfid\n", b"\x1f\x8b\x08"]),
    st.tuples(st.integers(), st.integers(1, 50)),
)
def test_any_bytes_are_rows_or_refused(noise: bytes, head: bytes, arrival: tuple[int, int]) -> None:
    """Nothing but a refusal with a fix is raised, the same however it arrives."""
    said = []
    for largest in (arrival[1], 1000):
        try:
            found = parse(pieces_of(head + noise, arrival[0], largest))
            said.append((found.ids, [each.where for each in found.rejected], ""))
            assert all(map(is_conversation_id, found.ids))
        except UsageError as refusal:
            said.append(([], [], str(refusal.fix)))
    assert said[0] == said[1]
