"""The options of ``download`` that spread a run over workers."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from bulkaudio.cli import values

ENGINE = Group("Where the work is done", sort_key=5)


@Parameter(name="*", group=ENGINE)
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """One process, or workers on this machine or many."""

    engine: Annotated[
        Literal["local", "dask"],
        Parameter(help="Fetch in this process, or by the workers of a Dask cluster."),
    ] = "local"
    scheduler: Annotated[
        str | None,
        Parameter(
            metavar="URL",
            help="With --engine dask, the scheduler's address, such as tls://host:8786; without it, "
            "workers are started on this machine.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        Parameter(
            metavar="N",
            converter=values.count,
            show_default=lambda _: "one a core",
            help="With --engine dask and no --scheduler, how many workers to start.",
        ),
    ] = None
