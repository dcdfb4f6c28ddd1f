"""Files of ids in every form that people export: the same requests, or a refusal before any."""

import codecs
import gzip
import os
import socket
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from threading import Thread

import pytest

from tests.faults.machine import few, hook
from tests.faults.test_ledger_held import without_rights
from tests.forked import run_forked
from tests.oracle import trial_on
from tests.plans import whole
from tests.wire import WireServer

IDS = ("CA1", "CA2", "CA3", "CA4")
PLAIN = "conversation_id\n" + "".join(f"{id_}\n" for id_ in IDS)
TABLE = "when,conversation_id,note\n" + "".join(f'2026-11-10,{id_},"a, b"\n' for id_ in IDS)


def table(delimiter: str) -> bytes:
    """Spell a table with this delimiter."""
    return TABLE.replace('"a, b"', "x").replace(",", delimiter).encode()


FORMS: dict[str, bytes] = {
    "plain": PLAIN.encode(),
    "no_last_line_break": PLAIN.rstrip().encode(),
    "crlf": PLAIN.replace("\n", "\r\n").encode(),
    "cr": PLAIN.replace("\n", "\r").encode(),
    "mixed_breaks": b"conversation_id\r\nCA1\nCA2\r\nCA3\rCA4",
    "bom": codecs.BOM_UTF8 + PLAIN.encode(),
    "bom_crlf": codecs.BOM_UTF8 + PLAIN.replace("\n", "\r\n").encode(),
    "utf_16_le": codecs.BOM_UTF16_LE + PLAIN.encode("utf-16-le"),
    "utf_16_be": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "utf_16_crlf_tab": codecs.BOM_UTF16_LE + table("\t").replace(b"\n", b"\r\n").decode().encode(
        "utf-16-le"),
    "quoted": TABLE.encode(),
    "all_quoted": "".join(f'"{line}"\n' for line in PLAIN.split()).encode(),
    "embedded_breaks": b'note,conversation_id\n"a\nb\r\nc",CA1\n"say ""no""\n",CA2\nx,CA3\n"\n\n",CA4\n',
    "semicolon": table(";"),
    "tab": table("\t"),
    "pipe": table("|"),
    "excel_hint": b"sep=;\r\n" + table(";"),
    "trailing_blanks": b"conversation_id \nCA1 \nCA2\t\n CA3\n  CA4  \n",
    "blank_lines": b"\n\nconversation_id\n\nCA1\n\n\nCA2\n,\nCA3\nCA4\n\n\n",
    "no_header": b"CA1\nCA2\nCA3\nCA4\n",
    "header_again": b"conversation_id\nCA1\nCA2\nconversation_id\nCA3\nCA4\n",
    "camel_case": PLAIN.replace("conversation_id", "conversationId").encode(),
    "spaced_header": PLAIN.replace("conversation_id", '"Conversation ID"').encode(),
    "call_sid": PLAIN.replace("conversation_id", "call_sid").encode(),
    "two_id_columns": b"id,conversation_id\n1,CA1\n2,CA2\n3,CA3\n4,CA4\n",
    "duplicates": (PLAIN + "".join(f"{id_}\n" for id_ in IDS * 50)).encode(),
    "long_cells": b"conversation_id,transcript\n" + b"".join(
        f'{id_},"{"word " * 100_000}"\n'.encode() for id_ in IDS),
    "gzip": gzip.compress(PLAIN.encode()),
    "gzip_of_utf_16": gzip.compress(codecs.BOM_UTF16_LE + PLAIN.encode("utf-16-le")),
    "gzip_members": gzip.compress(PLAIN[:20].encode()) + gzip.compress(PLAIN[20:].encode()) + bytes(64),
    "emoji": "conversation_id,name\nCA1,Zoë\nCA2,李\nCA3,😀\nCA4,ﷺ\n".encode(),
    "nul_beside": b"conversation_id,note\nCA1,\x00\nCA2,x\nCA3,\x00y\nCA4,\n",
}  # fmt: skip

BRIEF = ("utf_16_le", "bom_crlf", "embedded_breaks", "semicolon", "duplicates", "gzip")


def requests_of(server: WireServer) -> list[str]:
    """Return what was asked for, in an order of its own."""
    return sorted(server.targets)


EXPECTED = [f"/v1/agents/PROJECT-1/conversations/{id_}/audio?direction=combined" for id_ in IDS]


@pytest.mark.parametrize("name", few(FORMS, BRIEF))
async def test_each_form_of_a_file(name: str, tmp_path: Path) -> None:
    """The same requests byte for byte, once each, and none the next time."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        (trial.cwd / "calls").write_bytes(FORMS[name])
        ended = await trial.download("--csv", "calls")
        assert ended.code == 0, ended.stderr
        assert requests_of(server) == EXPECTED
        assert trial.saved() == set(trial.truth)
        counts = ended.summary["counts"]
        assert (counts["conversations"], counts["rejected"]) == (len(IDS), 0)
        again = await trial.download("--csv", "calls")
        assert (again.code, again.summary["counts"]["already"]) == (0, len(IDS))
        assert requests_of(server) == EXPECTED


WAYS = ("standard_input", "fifo", "fifo_in_drops", "dev_stdin", "gzip_by_fifo", "link", "odd_name")


@pytest.mark.parametrize("way", few(WAYS, ("standard_input", "fifo_in_drops")))
async def test_each_way_to_hand_a_file_over(way: str, tmp_path: Path) -> None:
    """A stream is as good as a file, also one that arrives in drops."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        given = {"standard_input": "-", "dev_stdin": "/dev/stdin", "odd_name": "-x\n\x1b[31m.csv"}
        name = given.get(way, "calls.csv")
        data = gzip.compress(PLAIN.encode()) if way.startswith("gzip") else PLAIN.encode()
        order = trial.order(*trial.words(f"--csv={name}"))
        writer = None
        if "fifo" in way:
            os.mkfifo(trial.cwd / name)
            writer = Thread(
                target=pour, args=(trial.cwd / name, data, 1 if "drops" in way else 999)
            )
            writer.start()
        elif way == "link":
            (trial.cwd / "real.csv").write_bytes(data)
            (trial.cwd / name).symlink_to("real.csv")
        elif way == "odd_name":
            (trial.cwd / name).write_bytes(data)
        else:
            order = replace(order, stdin=data)
        ended = await run_forked(order)
        if writer is not None:
            writer.join(10)
        trial.check(ended)
        assert ended.code == 0, ended.stderr
        assert requests_of(server) == EXPECTED
        (trial.cwd / "calls.csv").unlink(missing_ok=True)
        await trial.healed(*trial.csv(*IDS))


def pour(path: Path, data: bytes, size: int) -> None:
    """Write into a FIFO, so many bytes at a time; its reader may go away."""
    with suppress(BrokenPipeError):
        fd = os.open(path, os.O_WRONLY)
        try:
            for start in range(0, len(data), size):
                os.write(fd, data[start : start + size])
        finally:
            os.close(fd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """
    An input that is none.

    Attributes:
        make: Puts it under a name.
        words: Of the error.
    """

    make: Callable[[Path], object]
    words: tuple[str, ...]
    options: tuple[str, ...] = ()


def holding(data: bytes, *words: str, options: tuple[str, ...] = ()) -> Refused:
    """Hold these bytes."""
    return Refused(make=lambda path: path.write_bytes(data), words=words, options=options)


def a_workbook() -> bytes:
    """Return the beginning of what a spreadsheet saves."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    return stream.getvalue()


def a_socket(path: Path) -> None:
    """Make a socket that nobody listens on."""
    os.chdir(path.parent)  # its address must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir("/")


REFUSED: dict[str, Refused] = {
    "wrong_column": holding(TABLE.encode(), "call", "when, conversation_id, note",
                            options=("--id-column", "call")),
    "no_column": holding(b"when,who\n2026,me\n", "when, who"),
    "many_columns": holding(",".join(f"c{n}" for n in range(500)).encode() + b"\n", "c0", "480 more"),
    "columns_that_act": holding(b"\x1b[31mred,\xe2\x80\xaegpj\nx,y\n", "\\x1b[31mred"),
    "header_only": holding(b"conversation_id\n", "nothing below"),
    "empty": holding(b"", "is empty"),
    "blanks_only": holding(b"\n \n\t\r\n,,\n", "is empty"),
    "bom_only": holding(codecs.BOM_UTF16_LE, "is empty"),
    "empty_gzip": holding(gzip.compress(b""), "is empty"),
    "utf_32": holding(codecs.BOM_UTF32_LE + PLAIN.encode("utf-32-le"), "UTF-32", "iconv"),
    "utf_16_without_bom": holding(PLAIN.encode("utf-16-le"), "UTF-16", "iconv"),
    "latin_1": holding("conversation_id,név\nCA1,é\n".encode("latin-1"), "UTF-8", "byte"),
    "utf_16_odd": holding(codecs.BOM_UTF16_LE + PLAIN.encode("utf-16-le") + b"x", "UTF-16"),
    "picture": holding(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "calls.csv"),
    "recording": holding(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64), "calls.csv"),
    "program": holding(b"\x7fELF\x02\x01\x01" + bytes(5000), "calls.csv"),
    "workbook": holding(a_workbook(), "workbook"),
    "damaged_gzip": holding(b"\x1f\x8b\x08\x00" + b"\xff" * 500, "gzip"),
    "cut_gzip": holding(gzip.compress(PLAIN.encode())[:15], "gzip"),
    "json": holding(b'{"conversations": [{"id": "CA1"}]}', "calls.csv"),
    "folder": Refused(make=Path.mkdir, words=("is a folder",)),
    "missing": Refused(make=lambda path: path.with_name("x").touch(), words=("cannot be read",)),
    "socket": Refused(make=a_socket, words=("cannot be read",)),
    "ring_of_links": Refused(make=lambda path: path.symlink_to(path.name), words=("cannot be read",)),
    "too_long_a_name": Refused(make=lambda _: None, words=("cannot be read",),
                               options=("--csv", "x" * 300)),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", few(REFUSED, ("wrong_column", "header_only", "utf_16_without_bom", "folder", "picture"))
)
async def test_what_is_no_input_is_refused(name: str, tmp_path: Path) -> None:
    """Exit 2 with cause and fix, before any request, and without an archive."""
    case = REFUSED[name]
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        case.make(trial.cwd / "calls.csv")
        source = () if "--csv" in case.options else ("--csv", "calls.csv")
        ended = await trial.download(*source, *case.options)
        assert ended.code == 2, ended.stderr
        assert "Fix: " in ended.stderr
        for each in case.words:
            assert each in ended.stderr
        assert (server.connections, trial.archive.exists()) == (0, False)


@pytest.mark.slow
async def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    """Exit 2, naming it."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        source = trial.csv(*IDS)
        Path(source[1]).chmod(0)
        order = trial.order(*trial.words(*source))
        ended = await run_forked(replace(order, **hook(without_rights)))
        assert ended.code == 2, ended.stderr
        assert "calls.csv cannot be read" in ended.stderr
        assert server.connections == 0


LATE: dict[str, Callable[[bytes], bytes]] = {
    "bad_byte": lambda head: head + b"\nCA9,\xff\n",
    "cut_gzip": lambda head: gzip.compress(head, 0)[:-20],
}


@pytest.mark.parametrize("name", few(LATE, ()))
async def test_damage_far_into_a_file(name: str, tmp_path: Path) -> None:
    """Exit 2; what stands before it is saved, and mended it is gone on with."""
    rows = "".join(f"{id_},{'x' * 200_000}\n" for id_ in IDS)
    head = f"conversation_id,note\n{rows}".encode()
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        (trial.cwd / "calls.csv").write_bytes(LATE[name](head))
        ended = await trial.download("--csv", "calls.csv")
        assert ended.code == 2, ended.stderr
        assert set(server.targets) <= set(EXPECTED)
        await trial.healed(*trial.csv(*IDS))
