"""What the summaries of earlier runs tell of recordings that were erased since."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

_TOLD = (
    "SELECT number FROM runs WHERE json_valid(summary) "
    "AND json_array_length(summary, '$.failures') > 0"
)


def forget(connection: sqlite3.Connection) -> None:
    """
    Take out why erased recordings had failed, support ids above all.

    The entries stay, so that a summary's figures still add up; one run is read at a time.
    """
    for (number,) in connection.execute(_TOLD).fetchall():
        query = "SELECT summary FROM runs WHERE number = ?"
        summary = json.loads(connection.execute(query, (number,)).fetchone()[0])
        told = summary["failures"]
        summary["failures"] = [_known(connection, each) for each in told]
        if summary["failures"] != told:
            text = json.dumps(summary, separators=(",", ":"))
            connection.execute("UPDATE runs SET summary = ? WHERE number = ?", (text, number))


def _known(connection: sqlite3.Connection, failure: Mapping[str, Any]) -> Mapping[str, Any]:
    is_erased = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM recordings "
        "WHERE conversation_id = ? AND direction = ? AND status = 'purged')",
        (failure["id"], failure["direction"]),
    ).fetchone()[0]
    if not is_erased:
        return failure
    emptied = dict.fromkeys(("http_status", "error_code", "correlation_id"))
    return {**failure, "reason": "purged", **emptied}
