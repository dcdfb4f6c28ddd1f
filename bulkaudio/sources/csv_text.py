"""From the bytes of a CSV file to its text: compression and encoding."""

import codecs
import zlib
from collections.abc import Callable, Iterator

from bulkaudio.errors import UsageError

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_INFLATED_BYTES = 256 * 1024
_LONGEST_MAGIC = 4

_BOMS = (
    (codecs.BOM_UTF32_LE, None),  # before UTF-16's, which it starts with
    (codecs.BOM_UTF32_BE, None),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def texts(read: Callable[[], bytes], name: str) -> Iterator[str]:
    """
    Decode what `read` returns, piece by piece as it arrives.

    Gzip is known by its magic number; the encoding by its byte order mark, and is UTF-8 without.

    Raises:
        UsageError: Where the bytes are not that. What stands before is yielded first, except in
            the first piece: a file that is wrong at its head is refused as a whole.
    """
    pieces = _with_whole_head(iter(read, b""))
    first = next(pieces, b"")
    if first.startswith(_ZIP):
        raise UsageError(
            f"{name} is a zip file or a workbook", fix="save it as CSV, and use that (or .csv.gz)"
        )
    pieces = _chain(first, pieces)
    if first.startswith(_GZIP):
        pieces = _with_whole_head(_inflate(pieces, name))
    return _decode(pieces, name)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _with_whole_head(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join the first pieces until there are enough bytes to tell the format by."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _LONGEST_MAGIC:
            break
    if head:
        yield head
    yield from pieces


def _inflate(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Decompress gzip members in bounded pieces."""
    inflater, has_begun = zlib.decompressobj(31), False
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if inflater.eof:
                    rest = rest.lstrip(b"\0")  # tape padding after the last member
                    if not rest:
                        break
                    inflater, has_begun = zlib.decompressobj(31), False
                has_begun = True
                text = inflater.decompress(rest, _INFLATED_BYTES)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                if text:
                    yield text
            # zlib may hold output back although it took all input.
            while not inflater.eof and (text := inflater.decompress(b"", _INFLATED_BYTES)):
                yield text
    except zlib.error as error:
        raise UsageError(f"{name} is damaged gzip: {error}", fix="write it again") from error
    if has_begun and not inflater.eof:
        raise UsageError(f"{name} is gzip that ends early", fix="write or copy it again")


def _decode(pieces: Iterator[bytes], name: str) -> Iterator[str]:
    first = next(pieces, b"")
    bom, encoding = _encoding_of(first, name)
    decoder = _Decoder(name=name, encoding=encoding, taken=len(bom))
    head = decoder.decode(first[len(bom) :])
    # A character that is cut may be one, or the sign of another encoding: what follows tells.
    while decoder.is_amid_character:
        piece = next(pieces, b"")
        head += decoder.decode(piece, is_last=not piece)
    yield head
    for piece in pieces:
        try:
            text = decoder.decode(piece)
        except UsageError:
            yield decoder.good
            raise
        yield text
    decoder.decode(b"", is_last=True)


class _Decoder:
    """
    Decodes strictly, and knows where in the file it is.

    Attributes:
        good: What stood before the byte that could not be decoded.
    """

    def __init__(self, *, name: str, encoding: str, taken: int) -> None:
        self._name, self._encoding = name, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
        self._taken, self._line = taken, 1
        self.good = ""

    @property
    def is_amid_character(self) -> bool:
        """Whether bytes are held back that are no character yet."""
        return bool(self._decoder.getstate()[0])

    def decode(self, piece: bytes, *, is_last: bool = False) -> str:
        """Decode the next piece; raises `UsageError`."""
        self._taken += len(piece)
        try:
            text = self._decoder.decode(piece, final=is_last)
        except UnicodeDecodeError as error:
            self._decoder.reset()
            self.good = error.object[: error.start].decode(self._encoding)
            byte = self._taken - len(error.object) + error.start + 1
            line = self._line + _breaks(self.good)
            raise _unknown(
                f"{self._name} is not {self._encoding.upper()}: "
                f"byte {byte}, in line {line}, cannot be decoded",
                "WINDOWS-1252",
            ) from error
        self._line += _breaks(text)
        return text


def _breaks(text: str) -> int:
    return text.count("\n") or text.count("\r")


def _encoding_of(head: bytes, name: str) -> tuple[bytes, str]:
    """Return the byte order mark and the encoding."""
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            if encoding is None:
                raise _unknown(f"{name} is UTF-32", "UTF-32")
            return bom, encoding
    sample = head[:1024]
    # One in three: a stray NUL is a bad row, text in UTF-16 has one in almost every pair.
    if sample.count(0) * 3 > len(sample):
        raise _unknown(f"{name} seems to be UTF-16 without a byte order mark", "UTF-16LE")
    return b"", "utf-8"


def _unknown(message: str, guess: str) -> UsageError:
    return UsageError(
        message,
        fix=f"save it as UTF-8, or convert it: iconv -f {guess} -t UTF-8 calls.csv > utf8.csv",
    )
