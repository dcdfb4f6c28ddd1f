"""The program: its commands, where its options come from, and how it ends."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from cyclopts import App, CycloptsError, Group

from bulkaudio.cli import failure
from bulkaudio.cli.core_dumps import forbid_core_dumps
from bulkaudio.cli.endings import Endings, handled
from bulkaudio.cli.given import Given, forget_given
from bulkaudio.cli.help_page import HelpPage
from bulkaudio.cli.settings_sources import TomlFile, Variables, options_of
from bulkaudio.cli.streams import end_streams, mend_streams, stdout_fault, survived_pipe
from bulkaudio.cli.unknown_variables import UnknownVariables
from bulkaudio.errors import BulkAudioError
from bulkaudio.observe.terminal import console
from bulkaudio.version import __version__

HELP = "Archive the call recordings of a PolyAI voice agent: every night, or years of them at once."

WORK, LOOK, SET_UP, TRY, HELP_GROUP = (
    Group("Archive", sort_key=1),
    Group("Look after", sort_key=2),
    Group("Set up", sort_key=3),
    Group("Try out", sort_key=4),
    Group("Help", sort_key=9),
)

DOWNLOAD = """\
Save recordings into an archive.

Takes conversation ids from a CSV, or lists the calls of a time window; saves each recording once, \
proven whole; and goes on where it stopped when it is run again.

  $ bulkaudio download --csv calls.csv --agent PROJECT-1 --region uk --out archive
  $ bulkaudio download --since yesterday --until today --account ws-1 --agent PROJECT-1 \\
        --region uk --direction all --out archive
  $ bulkaudio download --out archive        # nightly: from where the last listing ended

Every option is also a variable, BULKAUDIO_<UPPER_SNAKE>, and a key of bulkaudio.toml: flags come \
before variables, variables before the file. The file is the one that --config names, else the first \
there is in the archive's folder (when file and folder are yours or root's, and nobody else can write \
to them), in ~/.config/bulkaudio and in /etc/bulkaudio; never one in the current folder.
"""

STATUS = """\
Tell what an archive holds and how its last run went.

Works while a run is going on, and then tells how far it is.
"""

PLAN = """\
Say what a download with the same options would do.

Lists, or reads the CSV, and asks the ledger; writes nothing, not even a log or a summary file. Sizes \
and times are estimates, from the calls' lengths and from what the archive has seen.
"""

GAPS = """\
Tell which recordings are not kept, by day and direction, and why.

Ends with exit code 3 when something that should be there is not. By what the ledger knows; with \
--relist also by what PolyAI lists now.
"""

VERIFY = """\
Check every saved file against its recorded proof.

Finds recordings that are missing or damaged, and files of erased ones that are there again, and ends \
with exit code 7 when there are any. Files that the ledger does not know are named and left alone.
"""

REBUILD = """\
Make a lost or damaged ledger anew from the files, without a download.

Proves and hashes every recording. The old ledger is moved aside, never deleted; damaged files stay \
where they are and end the command with exit code 7.
"""

SCHEDULE = """\
Print what makes cron, systemd, Kubernetes or Airflow download every night.

Takes the options of download, from flags, variables and bulkaudio.toml, and writes them into the \
job; the key is never in it, only the file that holds it. Exit codes become what the scheduler can \
do about them: try again, skip, or tell a person.

  $ bulkaudio schedule systemd --out /data/calls --api-key-file /etc/bulkaudio/polyai.key
  $ bulkaudio schedule cron --out /data/calls --at 02:30 --tz Europe/London
"""

EXPORT = """\
Write the archive's catalogue, a row a recording.

Columns are described in docs/schema.md. Times are UTC.

  $ bulkaudio export archive --format csv > catalogue.csv
  $ bulkaudio export archive --format parquet --since 2026-11 --output november.parquet
"""

PURGE = """\
Erase recordings for good, and keep them from being fetched again.

Removes audio, metadata and everything that the ledger knows of them but a tombstone: the id, the \
side, and when the call began; reports in the archive's folder go as well. Tells what it would do, \
and does it with --yes. What is held is left alone and named, and ends the command with exit code 3.

  $ bulkaudio purge archive --older-than 13mo
  $ bulkaudio purge archive --ids requests.csv --reason "DSAR 17" --receipt 17.json --yes
  $ bulkaudio purge archive --resume --yes
"""

HOLD = """\
Forbid to erase conversations, as a legal hold does.

What is held is left alone by purge, which names it and ends with exit code 3.

  $ bulkaudio hold archive add CA0123 CA0456 --reason "case 17"
  $ bulkaudio hold archive add --id CA0123 --ids more.csv
  $ bulkaudio hold archive list
  $ bulkaudio hold archive remove CA0123
"""

DOCTOR = """\
Look at everything that a download needs, and tell how to mend what is amiss.

Takes the options of download. Looks at the configuration, the names, certificates, answers and clocks \
of both hosts, both keys, the agent, the archive's folder, disk, space and ledger; leaves the archive as \
it is.

  $ bulkaudio doctor --agent PROJECT-1 --account ws-1 --region uk --out archive
  $ bulkaudio doctor --out archive --probe CA0123456789abcdef0123456789abcdef

Ends with 0 when nothing would stop a download, else with the exit code that is to be mended first: 2 \
configuration, 4 key, 6 this machine, 5 PolyAI.
"""

REPORT = """\
Write one HTML page about an archive, to look at and to listen from.

Says first whether every call that has a recording is archived; then what is not, day by day and why. \
Every call can be found and played. The page is one file, opens by double click and asks nothing of any \
network.
"""

SIMULATE = """\
Run a PolyAI stand-in on this machine.

Serves both APIs on loopback, with synthetic speech and faults on request, until Ctrl-C.
"""

DEMO = """\
Download from a stand-in that fails on purpose; needs no key and no network.

Leaves 360 synthetic recordings in a folder of its own, shows that a second run fetches nothing, and \
tells how to do the same with your own key.
"""

INIT = """\
Write a configuration file for an agent, from its address in Agent Studio.

Takes the address as the browser shows it, asks for it when it is not given, and never writes a key.

  $ bulkaudio init https://studio.uk.poly.ai/acme-uk/acme-team-4 --out /data/calls

The file is read when --config or BULKAUDIO_CONFIG names it, or when it is written (--output) to \
bulkaudio.toml in the archive's folder, in ~/.config/bulkaudio or in /etc/bulkaudio.
"""

CONFIG = "See what is configured."

CONFIG_SHOW = """\
Tell what download would do with these options, and where each value comes from.

Takes every option of download. A value comes from a flag, a variable, a file and its table, what the \
archive remembers, or it is the default. Keys are never shown, only where they were found.

  $ bulkaudio config show --config bulkaudio.toml --profile us
"""

COMPLETION = """\
Print a script that completes commands, options and files in a shell.

It counts in shells that are opened afterwards.

  $ bulkaudio completion bash > ~/.local/share/bash-completion/completions/bulkaudio
  $ bulkaudio completion zsh > ~/.zfunc/_bulkaudio         # a folder that is in $fpath
  $ bulkaudio completion fish > ~/.config/fish/completions/bulkaudio.fish
"""

Command = tuple[str, str, Group, str]
"""Name, of one word or two; where its function is; the heading it is listed under; its help."""

COMMANDS: tuple[Command, ...] = (
    ("download", "bulkaudio.cli.download:download", WORK, DOWNLOAD),
    ("plan", "bulkaudio.cli.plan:plan", WORK, PLAN),
    ("status", "bulkaudio.cli.status:status", LOOK, STATUS),
    ("gaps", "bulkaudio.cli.gaps:gaps", LOOK, GAPS),
    ("verify", "bulkaudio.cli.verify:verify", LOOK, VERIFY),
    ("report", "bulkaudio.cli.report:report", LOOK, REPORT),
    ("rebuild", "bulkaudio.cli.rebuild:rebuild", LOOK, REBUILD),
    ("schedule", "bulkaudio.cli.schedule:schedule", LOOK, SCHEDULE),
    ("export", "bulkaudio.cli.export:export", LOOK, EXPORT),
    ("purge", "bulkaudio.cli.purge:purge", LOOK, PURGE),
    ("hold", "bulkaudio.cli.hold:hold", LOOK, HOLD),
    ("doctor", "bulkaudio.cli.doctor:doctor", LOOK, DOCTOR),
    ("simulate", "bulkaudio.cli.simulate:simulate", TRY, SIMULATE),
    ("demo", "bulkaudio.cli.demo:demo", TRY, DEMO),
    ("init", "bulkaudio.cli.init:init", SET_UP, INIT),
    ("config show", "bulkaudio.cli.configuration:show", SET_UP, CONFIG_SHOW),
    ("completion", "bulkaudio.cli.completion:completion", SET_UP, COMPLETION),
)

FAMILIES = {"config": CONFIG}
"""Commands of two words are listed under their first."""


def make_app(commands: Sequence[Command] = COMMANDS) -> App:
    """Put the program together; commands are imported when they are asked for."""
    app = App(
        name="bulkaudio",
        help=HELP,
        version=f"bulkaudio {__version__}",
        suppress_keyboard_interrupt=False,
        version_flags=["--version"],
        help_flags=["--help", "-h"],
        help_formatter=HelpPage(),
        help_format="plaintext",
        group_arguments=Group("What", sort_key=1),
        group_parameters=Group("Options", sort_key=2),
    )
    app["--help"].help, app["--version"].help = "Show this page.", "Show the version."
    app["--help"].group = app["--version"].group = HELP_GROUP
    known = partial(options_of, app)
    # A file that cannot be read must not hide what was given before it.
    app.config = (Given(), UnknownVariables(known), Variables(), TomlFile(known))
    for position, (name, path, group, text) in enumerate(commands):
        family, _, own = name.rpartition(" ")
        if family and family not in app:
            app.command(App(name=family, group=group, help=FAMILIES[family], sort_key=position))
        home = app[family] if family else app
        home.command(path, name=own, group=group, help=text, sort_key=position)
    # What is set for the nightly job must not send the demo into its archive, nor a new file there,
    # nor decide what is erased, held, or left out of a catalogue.
    for name in ("demo", "init", "export", "purge", "hold"):
        app[name].config = ()
    return app


_RESERVE = bytearray(4 * 1024 * 1024)
"""Asked of the system and never touched: who has no memory left has so much to say so."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code. Never raises, except for `SystemExit`."""
    with handled(is_last=arguments is None) as endings:
        return _main(list(sys.argv[1:] if arguments is None else arguments), endings)


def _main(arguments: list[str], endings: Endings) -> int:
    mend_streams()
    forbid_core_dumps()
    forget_given()
    code = 0
    try:
        with survived_pipe():
            code = _run(_in_order(arguments))
            sys.stdout.flush()
    except KeyboardInterrupt:
        error = endings.error()
        code = error.exit_code
        if endings.name is not None:
            # Ctrl-C is seen where it is typed; a signal comes from elsewhere.
            failure.tell(error)
        _print_line(arguments, error)
    except BulkAudioError as fault:
        code = _end_badly(arguments, fault)
    except OSError as error:
        command = arguments[0] if arguments else ""
        told = stdout_fault(error, command) or failure.unexpected(error)
        code = _end_badly(arguments, told)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug ends in one line, not a page
        _RESERVE.clear()
        code = _end_badly(arguments, failure.unexpected(error))
    finally:
        end_streams()
    return code


def _end_badly(arguments: Sequence[str], error: BulkAudioError) -> int:
    """Tell the error; scripts get their line also when a command did not get as far as to run."""
    # Parsing may be what went wrong, so it cannot be asked.
    flags = [each for each in arguments if set(each) == {"-", "v"} or each == "--verbose"]
    verbosity = sum(1 if flag == "--verbose" else flag.count("v") for flag in flags)
    code = failure.tell(error, verbosity=verbosity)
    _print_line(arguments, error)
    return code


def _print_line(arguments: Sequence[str], error: BulkAudioError) -> None:
    from bulkaudio.cli.error_line import error_line

    line = error_line(arguments, error)
    # Where stdout takes nothing, stderr has told it.
    with suppress(OSError), survived_pipe():
        if line is not None:
            print(line, flush=True)


HOLDING = ("add", "remove", "list")


def _in_order(arguments: list[str]) -> list[str]:
    """Put ``hold``'s folder before what to do, where the verb was said first as elsewhere."""
    match arguments:
        case ["hold", verb, folder, *rest] if verb in HOLDING and folder not in HOLDING:
            return arguments if folder.startswith("-") else ["hold", folder, verb, *rest]
    return arguments


def _run(arguments: Sequence[str]) -> int:
    app = make_app()
    try:
        result = app(
            arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
            console=console(sys.stdout),
        )
    except CycloptsError as error:
        # Imported late: only who mistyped something has to wait for it.
        from bulkaudio.cli.mistakes import usage_error

        raise usage_error(error, arguments, [name for name, *_ in COMMANDS]) from error
    return result if isinstance(result, int) else 0
