"""The command ``parfocal``.

Commands import what they need when they run, so that ``--help`` and a mistyped option answer at
once, and Qt is loaded only where a window opens. Whatever goes wrong ends in one sentence on
stderr and an exit code of ``live.errors.ExitCode``; the traceback is for ``--debug``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from live.commands.bench import bench
from live.commands.ctl import ctl
from live.commands.doctor import doctor
from live.commands.imaging import check, demo, run
from live.commands.infer import infer
from live.commands.models import models_app
from live.commands.reporting import report
from live.commands.score import score
from live.commands.whatif import whatif
from live.errors import exit_code_of, is_users_own, message_of, traceback_of
from live.processes.pastcaches import begin_past_caches

_OWN_CAMERA = ("demo", "run")
_ISSUES = "this is a fault of parfocal; please report it with the output of --debug"

app = typer.Typer(
    name="parfocal",
    help="Runs beside a microscope while it images: sees, follows, decides, records.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: parfocal demo",
)
for _command, _example in (
    (demo, "Example: parfocal demo --headless --seconds 20 --out OUT --json R.json"),
    (run, "Example: parfocal run my-experiment.yaml --rig my-microscope.yaml --out day1"),
    (check, "Example: parfocal check my-experiment.yaml"),
    (ctl, "Example: parfocal ctl my-run pause"),
    (infer, "Example: parfocal infer movie.tif --movie --pipeline bacteria --out result"),
    (report, "Example: parfocal report my-run --trackmate --json report.json"),
    (whatif, "Example: parfocal whatif my-run --rules mitosis-burst --picture timeline.png"),
    (score, "Example: parfocal score result truth --json scores.json --picture worst.png"),
    (bench, "Example: parfocal bench handover --json bench.json"),
    (doctor, "Example: parfocal doctor --out D:/runs --json doctor.json"),
):
    app.command(epilog=_example)(_command)
app.add_typer(models_app, name="models")


@app.command(epilog="Example: parfocal version")
def version() -> None:
    """Print the version of parfocal and of the parts that it stands on."""
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    parts = ("parfocal", "pymmcore-plus", "useq-schema", "onnxruntime", "ome-writers", "pyzmq")
    for part in parts:
        try:
            number = version_of(part)
        except PackageNotFoundError:
            number = "not installed"
        typer.echo(f"{part} {number}")
    typer.echo(f"python {platform.python_version()} on {platform.platform()}")


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works in any place.")
    ] = False,
) -> None:
    """Runs beside a microscope while it images: sees, follows, decides, records."""
    del debug  # `main` takes it out of the arguments, wherever it stands


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code.

    Parameters
    ----------
    arguments
        Without the program's name; those of the process when None.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and any(word in _OWN_CAMERA for word in given[:2]):
        begin_past_caches()
    debug = "--debug" in given
    if not debug:
        # tifffile logs to the terminal what it then raises; the user needs one sentence.
        logging.getLogger("tifffile").addHandler(logging.NullHandler())
    try:
        app([word for word in given if word != "--debug"], prog_name="parfocal")
    except SystemExit:
        raise
    except BaseException as error:
        if debug:
            sys.stderr.write(traceback_of(error))
        elif is_users_own(error):
            sys.stderr.write(f"parfocal: {message_of(error)}\n")
        elif not isinstance(error, KeyboardInterrupt):
            sys.stderr.write(f"parfocal: {type(error).__name__}: {message_of(error)}; {_ISSUES}\n")
        sys.exit(exit_code_of(error))
    sys.exit(0)


if __name__ == "__main__":
    main()
