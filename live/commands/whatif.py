"""``parfocal whatif``: what rules would have done in a recorded run, before they touch a sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json

if TYPE_CHECKING:
    from live.whatif.ask import Answer

_MOST_ROWS = 40


def whatif(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a recorded run.")],
    rules: Annotated[
        str | None,
        typer.Option(
            "--rules",
            metavar="RULES.yaml",
            help="Ask about these rules, a file or a shipped rule, instead of the run's own.",
        ),
    ] = None,
    analyse: Annotated[
        bool,
        typer.Option("--analyse", help="Run the pipeline over the raw frames again first."),
    ] = False,
    json_file: JsonFile = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Draw the timeline as PNG."),
    ] = None,
) -> None:
    """Say what rules would have done in a recorded run: what, when, at what light and disk.

    Goes by what the analysis saw then, through the very code that decides in a run, so that the
    run's own rules give the run's own decisions; where they do not, that is said. Nothing is moved
    and nothing in the folder is changed. RULES.yaml is a single rule or has a list under `rules:`
    as an experiment does.
    """
    from live.picturefile import check_png, save_whole
    from live.whatif.ask import ask

    check_json_target(json_file)
    if picture is not None:
        check_png(picture)
    answer = ask(run, rules, analyse=analyse)
    write_json(json_file, answer.to_json())
    screen = console()
    _show(answer, screen)
    if picture is not None:
        from live.whatif.picture import draw

        of = "its own rules" if rules is None else Path(rules).name
        path = save_whole(picture, lambda: draw(answer, f"{run.name}: {of}"))
        screen.print(f"timeline in {path}", markup=False, soft_wrap=True)


def _show(answer: Answer, screen: Any) -> None:
    from rich.table import Table

    table = Table("at, s", "frame", "rule", "object", "action", "frames", "because", box=None)
    for one in answer.firings[:_MOST_ROWS]:
        decision = one.decision
        table.add_row(
            f"{one.at_s:.2f}", str(decision.seq), decision.rule, str(decision.track_id),
            one.action, str(one.cost.frames), f"{decision.because}; {one.outcome}",
        )  # fmt: skip
    if answer.firings:
        screen.print(table)
    more = len(answer.firings) - _MOST_ROWS
    if more > 0:
        screen.print(f"and {more} more, see --json", markup=False)
    for line in _lines(answer):
        screen.print(line, markup=False)


def _lines(answer: Answer) -> list[str]:
    replayed, light = answer.replayed, answer.light
    taken = sum(one.cost.frames for one in answer.firings)
    fired, held = len(answer.firings), len(answer.held)
    lines = [
        f"{fired} would fire and {held} be held back, in {replayed.judged} judged of "
        f"{answer.frames} frames ({answer.span_s:.1f} s)"
    ]
    lines += [f"  {count} frames not judged: {why}" for why, count in replayed.skipped.items()]
    mb = sum(one.cost.nbytes for one in answer.firings) / 1e6
    lines.append(
        f"disk: {answer.planned_bytes / 1e6:.1f} MB for the plan's {answer.planned} frames, "
        f"{mb:.1f} MB for {taken} frames of the rules"
    )
    lines.append(
        f"light: {light['plan']:.4g} {light['unit']} for the plan, {light['rules']:.4g} for the "
        f"rules; most at one place {light['max_position']:.4g}"
    )
    if light["problem"]:
        lines.append(f"the light would not have been enough: {light['problem']}")
    if answer.own:
        count = len(answer.differences)
        lines.append(
            f"{count} decisions differ from those of the run:"
            if count
            else "the run's own rules decide here as they did in the run"
        )
        lines += [f"  {sentence}" for sentence in answer.differences]
    return [*lines, *answer.notes]
