"""The few names of Airflow that a DAG needs, with what they do to a task; made into its modules."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest


class AirflowException(Exception):  # noqa: N818  its name there
    """Fails the task; it is tried again."""


class AirflowFailException(AirflowException):
    """Fails the task for good."""


class AirflowSkipException(AirflowException):
    """Skips the task."""


@dataclass
class Seen:
    """What a DAG's file has declared."""

    dag: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    bodies: list[Callable[[], None]] = field(default_factory=list)


def install(monkeypatch: pytest.MonkeyPatch, *, major: int) -> Seen:
    """Put the modules of a major version onto the path of imports."""
    seen = Seen()

    def dag(**keywords: Any) -> Any:
        seen.dag = keywords
        return lambda function: function

    def task(**keywords: Any) -> Any:
        seen.task = keywords

        def take(function: Callable[[], None]) -> Callable[[], None]:
            return lambda: seen.bodies.append(function)

        return take

    exceptions = {
        each.__name__: each
        for each in (AirflowException, AirflowFailException, AirflowSkipException)
    }
    modules: dict[str, dict[str, Any]] = {
        "airflow": {},
        "airflow.exceptions": exceptions,
        "airflow.sdk" if major > 2 else "airflow.decorators": {"dag": dag, "task": task},
        "pendulum": {
            "datetime": lambda year, month, day, tz: datetime(year, month, day, tzinfo=ZoneInfo(tz))
        },
    }
    for name, contents in modules.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    logging.getLogger("bulkaudio.job").setLevel(logging.INFO)
    return seen
