"""A timeline: for each rule a row of what it would have done, when, and about which object."""

from __future__ import annotations

from typing import Final

from PIL import Image, ImageDraw

from live.scoring.picture import BACKGROUND, DIM, TEXT, font_of
from live.whatif.ask import Answer, Firing

FIRED: Final = (86, 180, 233)
HELD: Final = (230, 159, 0)
GUTTER: Final = 230
MARGIN: Final = 16
HEAD: Final = 84
LANE: Final = 18
MOST_LANES: Final = 12
"""Objects that have a line of their own in a rule's row; the others share the last."""


def draw(answer: Answer, title: str, *, width: int = 1200) -> Image.Image:
    """The timeline.

    Parameters
    ----------
    answer
        What the rules would have done.
    title
        First line.
    width
        Pixels.

    Returns
    -------
    PIL.Image.Image
        RGB. Bars are firings, as long as their frames take; ticks are what a guard held back.
    """
    span_s = max(answer.span_s, *(one.at_s + one.cost.seconds for one in answer.firings), 1e-3)
    lanes = {rule: _lanes(answer, rule) for rule in answer.rules}
    height = HEAD + sum((len(found) + 1) * LANE for found in lanes.values()) + MARGIN
    paper = Image.new("RGB", (width, max(height, HEAD + 60)), BACKGROUND)
    pen = ImageDraw.Draw(paper)
    pen.text((MARGIN, 10), title, fill=TEXT, font=font_of(17))
    words = f"{len(answer.firings)} would fire, {len(answer.held)} held back by a guard"
    pen.text((MARGIN, 34), words, fill=DIM, font=font_of(14))

    def x_of(at_s: float) -> float:
        return GUTTER + at_s / span_s * (width - GUTTER - MARGIN)

    _axis(pen, span_s, x_of, paper.height)
    top = HEAD
    for rule, objects in lanes.items():
        pen.text((MARGIN, top), rule[:30], fill=TEXT, font=font_of(14))
        for number, name in enumerate(objects.values()):
            y = top + (number + 1) * LANE
            pen.text((GUTTER - 10, y), name, fill=DIM, font=font_of(11), anchor="rm")
            pen.line((GUTTER, y, width - MARGIN, y), fill=(42, 48, 54))
        last = len(objects) - 1
        place = {track: min(number, last) for number, track in enumerate(objects)}
        for at_s, held in answer.held:
            if held.rule == rule:
                y = top + (place.get(held.track_id, last) + 1) * LANE
                pen.line((x_of(at_s), y - 4, x_of(at_s), y + 4), fill=HELD, width=2)
        for one in answer.firings:
            if one.decision.rule == rule:
                y = top + (place.get(one.decision.track_id, last) + 1) * LANE
                _bar(pen, one, x_of, y)
        top += (len(objects) + 1) * LANE
    return paper


def _lanes(answer: Answer, rule: str) -> dict[int, str]:
    """Object -> its name, in order of appearance; firing ones first."""
    fired = [one.decision.track_id for one in answer.firings if one.decision.rule == rule]
    held = [one.track_id for _, one in answer.held if one.rule == rule]
    tracks = list(dict.fromkeys([*fired, *held]))
    found = {track: f"object {track}" if track else "frame" for track in tracks[:MOST_LANES]}
    if len(tracks) > MOST_LANES:
        found[-1] = f"{len(tracks) - MOST_LANES} more"
    return found or {-1: "never"}


def _axis(pen: ImageDraw.ImageDraw, span_s: float, x_of: object, bottom: int) -> None:
    assert callable(x_of)
    step = next(s * 10.0**p for p in range(-3, 9) for s in (1, 2, 5) if s * 10.0**p * 10 >= span_s)
    for number in range(int(span_s / step) + 1):
        x = x_of(number * step)
        pen.line((x, HEAD - 12, x, bottom - MARGIN), fill=(30, 35, 40))
        text = f"{number * step:g} s"
        pen.text((x, HEAD - 14), text, fill=DIM, font=font_of(12), anchor="ms")


def _bar(pen: ImageDraw.ImageDraw, one: Firing, x_of: object, y: float) -> None:
    assert callable(x_of)
    left = x_of(one.at_s)
    right = max(x_of(one.at_s + one.cost.seconds), left + 4)
    pen.rectangle((left, y - 5, right, y + 5), fill=FIRED)
