"""``parfocal report``: what a recorded run came to, and its tracks for other programs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json
from live.errors import UsageError

if TYPE_CHECKING:
    from live.recording.runfolder import RunFolder


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a recorded run.")],
    trackmate: Annotated[
        bool, typer.Option("--trackmate", help="Also write tracks as TrackMate's CSV files.")
    ] = False,
    tracks: Annotated[
        bool, typer.Option("--tracks/--no-tracks", help="Write tracks and the picture of lineages.")
    ] = True,
    json_file: JsonFile = None,
) -> None:
    """Show what a run came to; write its tracks as GEFF and its lineages as a picture.

    [bold]tracks.geff[/bold] opens in napari, Mastodon and traccuracy, with the divisions;
    [bold]lineages.png[/bold] has a tree for each family. Both lie in the folder of the run, and
    what an earlier report left there is replaced.
    """
    from live.commands.report import report_table
    from live.recording.runfolder import RunFolder, status
    from live.tracks.run import LINEAGES_NAME, export_tracks

    check_json_target(json_file)
    folder = RunFolder.open(run)
    screen = console()
    found = _read(folder)
    made = export_tracks(folder, trackmate=trackmate, picture=True) if tracks else []
    found["files"] = [path.name for path in made]
    write_json(json_file, found)
    if len(found) > 1:
        screen.print(report_table(found))
    else:
        screen.print(f"{status(run, now_unix=time.time()).line()}", markup=False)
    for path in made:
        what = "lineages" if path.name == LINEAGES_NAME else "tracks"
        screen.print(f"{what} in {path}", markup=False, soft_wrap=True)
    if tracks and not made:
        screen.print("nothing was tracked in this run", markup=False)


def _read(folder: RunFolder) -> dict[str, Any]:
    """The report that the run wrote at its end; empty for one that was killed before."""
    if not folder.report.is_file():
        return {}
    try:
        found = json.loads(folder.report.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder.report} cannot be read: {error}; move it away to see what the journal says"
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f"{folder.report} holds {type(found).__name__}, need a report; move it")
    return found
