"""The live picture without Qt, for servers that lack the libraries which Qt needs.

Same scene, same outlines and numbers, drawn with Pillow every two seconds.
"""

from __future__ import annotations

import io
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from live.display import theme
from live.display.classes import class_lines, trust_text
from live.display.contrast import to_grey
from live.display.files import write_whole
from live.display.outlines import outline_rgba
from live.display.readout import Tile, Tone, overlay_note, scale_bar, tiles
from live.display.region import visible_region
from live.display.scene import Scene
from live.display.view_model import DisplayFeed, ShownStatus
from live.display.wording import plain

SIZE = (1280, 800)
STRIP = 56
SIDE = 320
POLL_S = 0.1
DRAW_EVERY_S = 2.0
RULES = 8
LINES = 40
COLUMNS = 46
_TONES = {
    Tone.PLAIN: theme.TEXT,
    Tone.DIM: theme.DIM,
    Tone.GOOD: theme.GOOD,
    Tone.WARN: theme.WARN,
    Tone.BAD: theme.BAD,
}


def run_still(
    feed: DisplayFeed,
    *,
    title: str,
    picture: Path | None,
    on_close: Callable[[], None],
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> int:
    """Follow the feed until it is closed and keep ``picture`` up to date.

    Raises ``OSError`` when the picture cannot be written.
    """
    scene, next_s = Scene(), 0.0
    try:
        while True:
            closing, now_s = feed.closed(), clock_ns() / 1e9
            frame, result = feed.newest_frame(), feed.newest_result()
            if frame is not None:
                scene.take_frame(frame, now_s)
            if result is not None:
                scene.take_result(result, now_s)
            due = picture is not None and (closing or now_s >= next_s)
            if due and picture is not None and scene.frame is not None:
                _write(draw_still(scene, feed.status(), title, clock_ns()), picture)
                next_s = now_s + DRAW_EVERY_S
            if closing:
                return 0
            time.sleep(POLL_S)
    finally:
        on_close()


def draw_still(scene: Scene, status: ShownStatus, title: str, now_ns: int) -> Image.Image:
    """One picture of the scene with its numbers; needs a frame in the scene."""
    frame = scene.frame
    if frame is None:
        raise ValueError("got a scene without a frame; take one first")
    page = Image.new("RGB", SIZE, theme.BACKGROUND)
    pen = ImageDraw.Draw(page)
    room = (SIZE[0] - SIDE, SIZE[1] - STRIP)
    height, width = frame.pixels.shape
    scale = min(room[0] / width, room[1] / height)
    shown = (max(1, round(width * scale)), max(1, round(height * scale)))
    corner = ((room[0] - shown[0]) // 2, STRIP + (room[1] - shown[1]) // 2)
    page.paste(_picture(scene, shown), corner)
    _draw_ids(pen, scene, scale, corner)
    age_ms = (now_ns - frame.captured_ns) / 1e6
    _draw_strip(pen, tiles(status, 0.0, age_ms))
    bar = scale_bar(frame.pixel_size_um, 130 / scale)
    x, y = corner[0] + 14, corner[1] + shown[1] - 16
    pen.rectangle((x, y, x + round(bar.length_px * scale), y + 4), fill="white")
    pen.text((x, y - 18), plain(bar.text), fill="white", font=_font(13))
    above = [status.warning, title, f"{frame.channel}  #{frame.seq}"]
    above += [overlay_note(scene.placement()), *_classes(scene), "", "RULES"]
    above += [f"{r.name}: fired {r.fired}. {r.last_text}" for r in list(status.rules)[:RULES]]
    lines = _wrapped([*(above if status.warning else above[1:]), "", "EVENTS"])
    events = _wrapped(list(status.events)[-LINES:])
    lines += events[-max(LINES - len(lines), 1) :]
    for row, line in enumerate(lines[:LINES]):
        place = (room[0] + 12, STRIP + 8 + 18 * row)
        pen.text(place, plain(line), fill=theme.TEXT, font=_font(12))
    return page


def _classes(scene: Scene) -> list[str]:
    """Trust and classes of the newest result; nothing where there are none."""
    if scene.result is None:
        return []
    lines = class_lines(scene.result, {})
    counts = "  ".join(f"{line.name} {line.count}" for line in lines)
    return [text for text in (trust_text(scene.result.verdict)[0], counts) if text]


def _picture(scene: Scene, shown: tuple[int, int]) -> Image.Image:
    frame, result, placement = scene.frame, scene.result, scene.placement()
    assert frame is not None
    height, width = frame.pixels.shape
    region = visible_region((height, width), (0, width), (0, height), (shown[0], shown[1]))
    grey = to_grey(frame.pixels[region.slices], scene.levels())
    picture = Image.fromarray(grey).convert("RGB")
    if result is not None and placement is not None and placement.visible:
        rgba = Image.fromarray(outline_rgba(result.labels, result.objects, region))
        shift = (round(placement.x_px / region.stride), round(placement.y_px / region.stride))
        picture.paste(rgba, shift, rgba)
    return picture.resize(shown, Image.Resampling.NEAREST)


def _draw_ids(
    pen: ImageDraw.ImageDraw, scene: Scene, scale: float, corner: tuple[int, int]
) -> None:
    placement = scene.placement()
    if scene.result is None or placement is None or not placement.visible:
        return
    objects = scene.result.objects
    for row in objects[objects["track_id"] > 0][:150]:
        x = corner[0] + (float(row["x_px"]) + placement.x_px) * scale
        y = corner[1] + (float(row["bbox_y0"]) + placement.y_px) * scale
        if y > STRIP + 12:
            pen.text((x - 6, y - 14), str(row["track_id"]), fill="#ffffff", font=_font(11))


def _wrapped(lines: list[str]) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, COLUMNS) or [""]]


def _draw_strip(pen: ImageDraw.ImageDraw, strip: tuple[Tile, ...]) -> None:
    x = 14
    for tile in strip:
        pen.text((x, 9), plain(tile.title), fill=theme.DIM, font=_font(10))
        pen.text((x, 26), plain(tile.value), fill=_TONES[tile.tone], font=_font(15))
        x += max(92, int(9.2 * len(tile.value)) + 18)


def _write(page: Image.Image, path: Path) -> None:
    store = io.BytesIO()
    page.save(store, "PNG")
    write_whole(store.getvalue(), path)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
