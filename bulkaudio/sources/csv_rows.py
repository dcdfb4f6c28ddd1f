"""From the text of a CSV file to conversations, and to the rows that are none."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain

from bulkaudio.model import BareConversations, Batch, Conversation, Rejected
from bulkaudio.naming import are_conversation_ids, is_conversation_id, printable
from bulkaudio.sources.csv_columns import Columns, find_columns, fold, is_whole_head
from bulkaudio.sources.csv_lines import MAX_ROW_CHARS, Rows, Unreadable, rows_of

_FULLEST_ID = 128


def read_batches(texts: Iterator[str], id_column: str | None, name: str) -> Iterator[Batch]:
    """
    Yield conversations after each text; none of the batches is empty.

    Raises:
        UsageError: Before the first batch, when there is no id column.
    """
    head = ""
    for text in texts:
        head += text
        if is_whole_head(head) or len(head) > MAX_ROW_CHARS:
            break
    columns = find_columns(head, id_column, name)
    for item in rows_of(chain([head], texts), columns.delimiter):
        if isinstance(item, Unreadable):
            yield Batch(conversations=(), rejected=(_rejected(item.number, item.text, item.why),))
            continue
        batch = _plain_batch(item, columns) or _careful_batch(item, columns)
        if batch.conversations or batch.rejected:
            yield batch


def _plain_batch(rows: Rows, columns: Columns) -> Batch | None:
    """Take rows that all are nothing but ids, at several times the speed; None for others."""
    if columns.started_at is not None:
        return None
    text = "".join(rows.lines)
    if columns.id == 0 and rows.delimiter not in text:
        # A single column: the lines are the cells if they turn out to be ids, in which quotes and
        # carriage returns have no place. To parse them takes longer than all the rest.
        ids = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    else:
        try:
            ids = [row[columns.id] for row in rows]
        except IndexError:
            return None
    if not are_conversation_ids(ids) or not columns.spellings.isdisjoint(ids):
        return None
    return Batch(conversations=BareConversations(ids=tuple(ids)))


def _careful_batch(rows: Rows, columns: Columns) -> Batch:
    judged = [
        _judge(number, row, columns)
        for number, row in zip(rows.numbers, rows, strict=True)
        if any(cell and not cell.isspace() for cell in row)
    ]
    return Batch(
        conversations=tuple(j for j in judged if isinstance(j, Conversation)),
        rejected=tuple(j for j in judged if isinstance(j, Rejected)),
    )


def _judge(number: int, row: Sequence[str], columns: Columns) -> Conversation | Rejected | None:
    """Return None for a header, wherever it is repeated."""
    if len(row) <= columns.id:
        why = f"the row has only {len(row)} of the {columns.id + 1} columns up to the id"
        return _rejected(number, columns.delimiter.join(row), why)
    text = row[columns.id].strip()
    if fold(text) in columns.headers or (number <= 2 and row[0].lower().startswith("sep=")):
        return None
    if not is_conversation_id(text):
        return _rejected(number, text, _why_not(text))
    start = _start_of(row, columns)
    undated = None
    if start is None and columns.started_at is not None:
        given = "".join(row[columns.started_at : columns.started_at + 1]).strip()
        flaw = "its start is no time" if given else "it has no start"
        undated = _rejected(number, given or text, f"{flaw}, and the layout needs one")
    return Conversation(id=text, started_at=start, undated=undated)


def _rejected(number: int, text: str, why: str) -> Rejected:
    return Rejected(where=f"line {number}", text=printable(text), why=why)


def _why_not(text: str) -> str:
    if not text:
        return "the id is empty"
    if text[0] in "{<" and text[-1] in "}>":
        return "it is a placeholder that was never replaced by an id"
    if len(text) > _FULLEST_ID:
        return f"an id has at most {_FULLEST_ID} characters"
    return "an id starts with a letter or digit and holds only those, '.', '_' and '-'"


def _start_of(row: Sequence[str], columns: Columns) -> datetime | None:
    """Read the start; naive ones are UTC, as PolyAI's are."""
    if columns.started_at is None or len(row) <= columns.started_at:
        return None
    text = row[columns.started_at].strip().upper().removesuffix("UTC").rstrip()
    try:
        start = datetime.fromisoformat(text)
        return start.replace(tzinfo=start.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
