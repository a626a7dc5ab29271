"""``parfocal demo``, ``run`` and ``check``: everything that opens a microscope."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live.commands.options import (
    Headless,
    JsonFile,
    OutFolder,
    Seconds,
    check_json_target,
    console,
    write_json,
)
from live.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from live.experiment.settings import ExperimentSettings

DEMO_SECONDS = 30.0
"""How long the demo runs where nobody can close its window."""

ExperimentFile = Annotated[
    str, typer.Argument(metavar="EXPERIMENT.yaml", help="A file, or the name of a shipped one.")
]
RigFile = Annotated[
    str | None,
    typer.Option("--rig", metavar="RIG.yaml", help="Use this rig instead of the experiment's."),
]


def demo(
    headless: Headless = False,
    seconds: Seconds = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Another living sample.")
    ] = None,
    out: OutFolder = None,
    json_file: JsonFile = None,
) -> None:
    """Show a simulated, living sample: imaged, segmented, followed, with bursts on divisions.

    Needs no hardware, no GPU and no network. Runs until its window is closed; where there is no
    window, for 30 s or as long as --seconds says.
    """
    from live.experiment.loading import load_experiment

    check_json_target(json_file)
    settings = load_experiment("demo")
    if seed is not None:
        settings = _with_seed(settings, seed)
    offscreen = False
    if headless:
        seconds = seconds or DEMO_SECONDS
    elif not _display_available():
        offscreen = True
        seconds = seconds or DEMO_SECONDS
        console().print(
            f"There is no display here: running for {seconds:g} s with the window drawn "
            "offscreen; its picture is saved beside the report."
        )
    _image(settings, out, Path("parfocal-demo"), headless, seconds, offscreen, json_file)


def run(
    experiment: ExperimentFile,
    rig: RigFile = None,
    headless: Headless = False,
    out: OutFolder = None,
    json_file: JsonFile = None,
    seconds: Seconds = None,
) -> None:
    """Run an experiment on a microscope: image, analyse, decide, record.

    Without --out the run goes to a new numbered folder, named after the experiment. Ctrl-C ends
    the run in order: light off, files closed, report printed; a second one forces.
    """
    from live.experiment.loading import load_experiment

    check_json_target(json_file)
    settings = load_experiment(experiment, rig=rig)
    if not headless and not _display_available():
        console().print("There is no display here: running without a window.")
        headless = True
    default = Path(f"parfocal-{settings.name.replace(' ', '-')}")
    _image(settings, out, default, headless, seconds, False, json_file)


def check(
    experiment: ExperimentFile,
    rig: RigFile = None,
    hardware: Annotated[
        bool,
        typer.Option("--hardware/--no-hardware", help="Open the microscope and ask it."),
    ] = True,
    out: OutFolder = None,
    json_file: JsonFile = None,
) -> None:
    """Find every mistake in an experiment before the light goes on.

    Holds the plan and the rules against the hardware, the limits, the light budget, the models and
    the disk, and prints all that is wrong at once, by file, line and key. Nothing is moved and no
    frame is taken. Exit code 2 when something is wrong, 3 when only the microscope did not open.
    """
    from live.checks.check import check_file
    from live.commands.checktable import check_table

    check_json_target(json_file)
    report = check_file(experiment, rig=rig, hardware=hardware, out=out)
    write_json(json_file, report.to_json())
    screen = console()
    for note in report.notes:
        screen.print(note, markup=False)
    if report.summary:
        screen.print(check_table(report.summary))
    if report.problems:
        for problem in report.problems:
            typer.echo(str(problem), err=True)
        count = len(report.problems)
        typer.echo(f"{count} problem{'s' if count > 1 else ''} found.", err=True)
        raise typer.Exit(report.exit_code)
    screen.print(f"{experiment}: ready to run.", markup=False)


def _display_available() -> bool:
    from live.display import display_available

    return display_available()


def _with_seed(settings: ExperimentSettings, seed: int) -> ExperimentSettings:
    if "seed" not in type(settings.rig).model_fields:
        raise UsageError(f"--seed {seed}: only the simulated rig has a seed")
    rig = settings.rig.model_copy(update={"seed": seed})
    return settings.model_copy(update={"rig": rig})


def _image(
    settings: ExperimentSettings,
    out: Path | None,
    default: Path,
    headless: bool,
    seconds: float | None,
    offscreen: bool,
    json_file: Path | None,
) -> None:
    """Run, print and write the report, and exit with what the run came to."""
    from live.commands.report import report_table
    from live.recording.runfolder import RunFolder
    from live.session import run_experiment

    screen = console()
    folder = RunFolder.create(out or default, numbered=out is None)
    try:
        report = run_experiment(
            settings,
            out=folder,
            headless=headless,
            seconds=seconds,
            offscreen=offscreen,
            console=screen,
        )
    finally:
        _remove_if_empty(folder.path)
    found = report.to_json()
    write_json(json_file, found)
    screen.print(report_table(found))
    for line in report.lines():
        screen.print(line, markup=False)
    screen.print(f"Recorded in {folder.path}", markup=False, soft_wrap=True)
    if report.exit_code != ExitCode.OK:
        raise typer.Exit(int(report.exit_code))


def _remove_if_empty(folder: Path) -> None:
    """A run that never began leaves no folder that looks like one."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
