"""``parfocal doctor``: what this machine can do, measured stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json
from live.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from live.doctor.findings import DoctorReport


def doctor(
    rig: Annotated[
        str | None,
        typer.Option(
            "--rig", metavar="RIG.yaml", help="Time this microscope's camera: the light may go on."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder on the disk that runs go to.")
    ] = Path(),
    pipelines: Annotated[
        list[str] | None,
        typer.Option("--pipelines", metavar="NAME", help="Only these; may be given again."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="In half a minute; large images are estimated.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Measure this machine stage by stage; print the frame rate that each pipeline holds.

    Times the camera, the hand-over to a second process, the recorder on the disk of --out, the
    window, each network on each engine that is installed, and each shipped pipeline at 512², 1024²
    and 2048². Says which engine runs, what the bottleneck is, and how to install TensorRT. Takes
    about three minutes. Run it when the machine is otherwise idle.

    Without --rig no microscope is opened: the demo camera of Micro-Manager stands in for it. With
    it, some pictures are taken with the camera as it is set, and the light may go on meanwhile.
    """
    from live.display import display_available
    from live.doctor.examine import FULL, QUICK, Examination
    from live.doctor.table import print_report
    from live.experiment.configfiles import shipped
    from live.experiment.loading import load_pipeline_settings, load_rig

    check_json_target(json_file)
    if not out.is_dir():
        raise UsageError(f"--out {out}: there is no such folder; make it first")
    names = pipelines or list(shipped("pipelines"))
    for name in names:
        load_pipeline_settings(name)
    settings: dict[str, Any] | None = None
    screen = console()
    if rig is not None:
        settings = load_rig(rig).model_dump(mode="json")
        screen.print(f"Pictures are taken with {rig}: the light may go on.", markup=False)
    effort = QUICK if quick else FULL
    with screen.status("Measuring ...") as status:
        examination = Examination(
            names, out.resolve(), effort, rig=settings, window=display_available(),
            on_step=lambda text: status.update(f"Measuring: {text} ..."),
        )  # fmt: skip
        report = examination.run()
    write_json(json_file, report.to_json())
    print_report(report, screen)
    _exit_if_nothing_runs(report, screen)


def _exit_if_nothing_runs(report: DoctorReport, screen: Console) -> None:
    if any(row.timing is not None for row in report.pipelines):
        return
    screen.print("No pipeline could be measured; the reasons are in the table.", markup=False)
    raise typer.Exit(int(ExitCode.ANALYSIS_FAILED))
