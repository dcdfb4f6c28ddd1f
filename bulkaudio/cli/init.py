"""The command ``init``: from the address of Agent Studio to a configuration file."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bulkaudio.cli.options import StateDirOption, StoreEndpointOption

if TYPE_CHECKING:
    from bulkaudio.cli.config_text import Where
    from bulkaudio.polyai.studio import StudioAddress


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """What is written, and where."""

    out: Annotated[
        str,
        Parameter(
            metavar="DIR|URL", help="The archive's folder, or s3://BUCKET/PREFIX, gs://… or az://…"
        ),
    ] = "archive"
    state_dir: StateDirOption = None
    store_endpoint: StoreEndpointOption = None
    output: Annotated[Path, Parameter(metavar="FILE", help="The file to write.")] = Path(
        "bulkaudio.toml"
    )
    overwrite: Annotated[
        bool, Parameter(negative="", help="Replace a file that is there already.")
    ] = False
    print_: Annotated[
        bool,
        Parameter(name="--print", negative="", help="Print the file instead of writing one."),
    ] = False
    api_key_file: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Name this file as the one that holds the API key."),
    ] = None
    check: Annotated[
        bool, Parameter(help="Have doctor look at hosts, keys and disk with the new file.")
    ] = True


DEFAULTS = InitOptions()


def init(
    studio_url: Annotated[
        str | None, Parameter(help="The agent's address in Agent Studio, from the browser.")
    ] = None,
    /,
    options: InitOptions = DEFAULTS,
) -> int:
    """Write a configuration file for an agent."""
    from bulkaudio.cli.config_text import Settled, text_of
    from bulkaudio.cli.failure import say
    from bulkaudio.cli.init_words import Prepared
    from bulkaudio.cli.new_file import check_new, write_new
    from bulkaudio.observe.terminal import console

    output = options.output.expanduser()
    if not options.print_:
        # Nobody is asked for an address that is of no use.
        check_new(output, is_overwriting=options.overwrite)
    settled = Settled(
        address=_asked() if studio_url is None else _address(studio_url),
        where=_where(options),
        key_file=_absolute(options.api_key_file) if options.api_key_file else None,
        output=output,
    )
    prepared = Prepared.look(settled, str(options.api_key_file) if options.api_key_file else None)
    if options.print_:
        print(text_of(settled), end="", flush=True)
        say(prepared.key_words())
        return 0
    write_new(output, text_of(settled), is_overwriting=options.overwrite)
    console(sys.stdout).print(prepared.page(), soft_wrap=True)
    if options.check:
        _examine(output)
    return 0


def _examine(path: Path) -> None:
    """Run ``doctor`` with the new file; what it finds is told, and is no failure of writing it."""
    from bulkaudio.cli.app import make_app

    print(flush=True)
    arguments = ["doctor", "--config", str(path)]
    make_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")


def _where(options: InitOptions) -> "Where":
    """Say where the archive is going to be."""
    from bulkaudio.cli.config_text import Where
    from bulkaudio.cli.places import place_of
    from bulkaudio.cli.request import refuse_endpoint

    folder, elsewhere = place_of(options.out, options.state_dir)
    refuse_endpoint(elsewhere, options.store_endpoint)
    return Where(
        folder=_absolute(folder),
        url=None if elsewhere is None else str(elsewhere.url),
        is_folder_named=options.state_dir is not None,
        endpoint=options.store_endpoint,
    )


def _absolute(path: Path) -> Path:
    """Make a path one that does not depend on where a job is started."""
    from bulkaudio.errors import UsageError

    whole = path.expanduser().absolute()
    try:
        str(whole).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{str(whole)!r} is no text, and cannot stand in a configuration file",
            fix="choose a name in UTF-8",
        ) from None
    return whole


def _address(text: str) -> "StudioAddress":
    from bulkaudio.polyai.studio import StudioAddress

    return StudioAddress.parse(text)


def _asked() -> "StudioAddress":
    """Ask a person until there is an address; elsewhere say what to give."""
    from bulkaudio.cli import failure
    from bulkaudio.errors import UsageError
    from bulkaudio.polyai.studio import WHOLE_ADDRESS

    missing = UsageError("the address of Agent Studio is missing", fix=WHOLE_ADDRESS)
    if sys.stdin is None or not sys.stdin.isatty():
        raise missing
    print("Open the agent in Agent Studio, and copy the address of the page.", file=sys.stderr)
    while True:
        print("Address: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line.strip():
            print(file=sys.stderr)
            raise missing
        try:
            return _address(line)
        except UsageError as error:
            failure.tell(error)
