"""The light-dose ledger: what the sample got is counted once, and never passes a cap."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from drivers import FrameMeta, Light, LightSpent, SettingsError
from live.light.cells import MOST_CELLS, CellDoses
from live.light.dose import DoseLedger
from live.light.map import MOST_BLOCKS, DoseMap, Field, MapFull
from live.light.picture import write_picture
from live.light.settings import LightSettings
from live.light.store import carry_over, save
from live.recording.journal import Journal
from live.recording.runfolder import RunFolder
from models.result import OBJECT_DTYPE


def light(
    x: float = 0,
    y: float = 0,
    preset: str = "DAPI",
    ms: float = 100,
    side: float = 80,
    **dimmed: str,
) -> Light:
    properties = {("Laser", name): value for name, value in dimmed.items()}
    return Light(x, y, side, side, preset, ms / 1e3, properties=properties)


def cells(*rows: tuple[int, int, float, float]) -> np.ndarray:
    found = np.zeros(len(rows), OBJECT_DTYPE)
    for row, (track, parent, x, y) in zip(found, rows, strict=True):
        row["track_id"], row["parent_id"], row["x_um"], row["y_um"] = track, parent, x, y
    return found


def meta(x: float = 0, y: float = 0) -> FrameMeta:
    return FrameMeta(seq=1, captured_ns=1, popped_ns=1, exposure_ms=10, x_um=x, y_um=y)


def give(ledger: DoseLedger, what: Light, frames: int = 1, exposed: float | None = None) -> None:
    ledger.begin(what, frames)
    ledger.end(frames if exposed is None else exposed)


def test_a_dose_is_power_times_exposure() -> None:
    ledger = DoseLedger(LightSettings(power={"DAPI": 2.0, "Brightfield": 0.0}))
    give(ledger, light(), 10)
    give(ledger, light(preset="FITC"), 10)
    give(ledger, light(preset="Brightfield"), 10)
    assert ledger.totals.dose == pytest.approx(2 + 1)
    assert ledger.totals.light_s == pytest.approx(2)
    assert ledger.totals.frames == 30
    assert ledger.by_preset == {"DAPI": 2, "FITC": 1, "Brightfield": 0}
    assert ledger.greatest == pytest.approx(3)


def test_only_what_was_exposed_counts() -> None:
    ledger = DoseLedger(LightSettings(cap_total=10))
    give(ledger, light(), 100, exposed=3)
    give(ledger, light(), 50, exposed=0)
    assert ledger.totals.dose == pytest.approx(0.3)
    assert ledger.room(light()) == 97


@pytest.mark.parametrize(
    ("caps", "room"),
    [
        ({}, None),
        ({"cap_total": 1.0}, 5),
        ({"cap_per_position": 0.8}, 3),
        ({"max_total_s": 0.95}, 4),
        ({"cap_per_cell": 0.7}, 2),
        ({"cap_total": 0.2}, 0),
    ],
)
def test_room_and_refusal_agree(caps: dict[str, float], room: int | None) -> None:
    ledger = DoseLedger(LightSettings())
    ledger.settings = LightSettings(**caps)
    ledger.add(light(), 5)
    ledger.see(cells((1, 0, 3.0, 3.0)), meta())
    assert ledger.room(light()) == room
    if room is not None:
        with pytest.raises(LightSpent, match=next(iter(caps))):
            ledger.begin(light(), room + 1)
    if room:
        assert ledger.objection([(light(), room)]) is None
        give(ledger, light(), room)
        assert ledger.room(light()) == 0


def test_caps_bind_where_the_light_falls() -> None:
    ledger = DoseLedger(LightSettings(cap_per_position=1.0))
    give(ledger, light(0), 10)
    assert ledger.room(light(0)) == 0
    assert ledger.room(light(79.9)) == 0, "an overlapping field lights some of the same cells"
    assert ledger.room(light(80)) == 10
    assert ledger.room(light(30, side=10)) == 0, "also a small field inside a large one"
    block = [(light(200), 6), (light(210), 5)]
    assert "cap_per_position" in (ledger.objection(block) or "")
    assert ledger.objection([(light(200), 6), (light(290), 5)]) is None
    assert ledger.room(light(200)) == 10, "asking spends nothing"


def test_daughters_and_strangers() -> None:
    ledger = DoseLedger(LightSettings(cap_per_cell=2.0))
    ledger.see(cells((1, 0, 0, 0), (2, 0, 30, 0)), meta())
    give(ledger, light(), 5)
    ledger.see(cells((3, 1, -2, 0), (4, 1, 2, 0), (2, 0, 31, 0), (9, 0, 10, 10)), meta())
    found = ledger.cell_doses(np.array([1, 2, 3, 4, 9, 77]))
    # A stranger is taken to have had all the light that fell where it is.
    np.testing.assert_allclose(found, [0.5, 0.5, 0.5, 0.5, 0.5, math.nan])
    give(ledger, light(), 15)
    with pytest.raises(LightSpent, match="a cell in view has had 2"):
        ledger.begin(light(), 1)
    give(ledger, light(300), 1)  # elsewhere there is none of them
    # Cells that left are not in view any more.
    ledger.see(cells(), meta())
    assert ledger.room(light()) == 20


def test_power_in_mw_must_be_known_and_dimmers_weaken_it() -> None:
    found = LightSettings.model_validate(
        {
            "unit": "mW",
            "power": {"DAPI": 4.0},
            "dimmers": [{"device": "Laser", "property": "power", "full": 100}],
            "max_power": 3.0,
        }
    )
    ledger = DoseLedger(found)
    with pytest.raises(LightSpent, match="power of preset 'FITC' is not known"):
        ledger.begin(light(preset="FITC"), 1)
    with pytest.raises(LightSpent, match=r"4 mW, over light\.max_power = 3"):
        ledger.begin(light(), 1)
    give(ledger, light(power="50"), 1)
    assert ledger.totals.dose == pytest.approx(0.2)
    for odd in ("full", "-3", "nan"):
        with pytest.raises(LightSpent, match="max_power"):
            ledger.begin(light(power=odd), 1)
    with pytest.raises(ValidationError, match="needs power"):
        LightSettings(unit="mW")


def test_the_map_is_bounded_and_refuses_rather_than_forgets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MOST_BLOCKS * 64 * 8 < 64e6
    monkeypatch.setattr("live.light.map.MOST_BLOCKS", 3)
    ledger = DoseLedger(LightSettings(cap_total=100))
    for number in range(3):
        give(ledger, light(800 * number))
    give(ledger, light(0))
    with pytest.raises(LightSpent, match="so many places"):
        ledger.begin(light(9000), 1)
    doses = DoseMap()
    for number in range(3):
        doses.add(Field(1000 * number, 0, 10, 10), 1)
    with pytest.raises(MapFull):
        doses.add(Field(9000, 0, 10, 10), 1)


def test_the_cells_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_CELLS >= 10_000
    monkeypatch.setattr("live.light.cells.MOST_CELLS", 10)
    known = CellDoses()
    field = Field(0, 0, 100, 100)
    for start in range(0, 50, 5):
        rows = [(start + number + 1, 0, number * 5.0, 0.0) for number in range(5)]
        known.see(cells(*rows), field, lambda x, _y: np.ones(len(x)))
    ids, doses = known.table()
    assert ids.tolist() == list(range(41, 51))
    assert doses.tolist() == [1] * 10
    assert known.total == 50


fields = st.builds(
    Field,
    st.floats(-500, 500),
    st.floats(-500, 500),
    st.sampled_from([20.0, 80.0, 256.0]),
    st.sampled_from([20.0, 80.0, 256.0]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(fields, st.floats(0, 5)), min_size=1, max_size=25), st.data())
def test_no_point_got_more_than_the_map_says(
    shots: list[tuple[Field, float]], data: st.DataObject
) -> None:
    doses = DoseMap()
    foreseen = DoseMap()
    foreseen.add(shots[0][0], shots[0][1])
    worst = foreseen.worst_after(shots[1:])
    for field, dose in shots:
        doses.add(field, dose)
    inside = data.draw(st.sampled_from([field for field, _ in shots]))
    x = inside.x_um + data.draw(st.floats(-0.499, 0.499)) * inside.width_um
    y = inside.y_um + data.draw(st.floats(-0.499, 0.499)) * inside.height_um
    real = sum(
        dose
        for field, dose in shots
        if abs(x - field.x_um) < field.width_um / 2 and abs(y - field.y_um) < field.height_um / 2
    )
    (told,) = doses.at(np.array([x]), np.array([y]))
    assert told >= real - 1e-9
    assert doses.most(inside) >= real - 1e-9
    assert doses.greatest >= real - 1e-9
    assert len(shots) == 1 or worst <= doses.greatest + 1e-9
    assert max(place[2] for place in doses.positions()) == pytest.approx(doses.greatest)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-200, 200), st.floats(1, 500), st.integers(1, 40), st.floats(0, 1)),
        max_size=30,
    ),
    st.floats(0.05, 5),
)
def test_no_order_of_exposures_passes_a_cap(
    shots: list[tuple[float, float, int, float]], cap: float
) -> None:
    ledger = DoseLedger(LightSettings(cap_per_position=cap, cap_total=3 * cap, cap_per_cell=cap))
    for x, ms, frames, part in shots:
        what = light(x, ms=ms)
        room = ledger.room(what)
        assert room is not None
        try:
            ledger.begin(what, frames)
        except LightSpent:
            assert frames > room
            continue
        assert frames <= room + 1  # one frame of rounding
        ledger.end(frames * part)
        ledger.see(cells((1, 0, x, 0.0), (2, 0, x + 10, 5.0)), meta(x))
    assert ledger.greatest <= cap * (1 + 1e-6)
    assert ledger.totals.dose <= 3 * cap * (1 + 1e-6)
    assert ledger.to_json()["cells"]["max"] <= cap * (1 + 1e-6)


def test_the_ledger_survives_in_the_journal(tmp_path: Path) -> None:
    ledger = DoseLedger(LightSettings())
    folder = RunFolder.create(tmp_path / "run")
    with Journal(folder.journal) as journal:
        give(ledger, light(0), 5)
        ledger.see(cells((1, 0, 0.0, 0.0)), meta())
        save(ledger, journal)
        give(ledger, light(40), 5)
        save(ledger, journal, cells=True)
    again = DoseLedger(LightSettings(cap_per_position=2.0))
    carry_over(again, folder.path)
    assert again.totals.dose == pytest.approx(1.0)
    assert again.by_preset == {"DAPI": pytest.approx(1.0)}
    assert again.greatest == pytest.approx(ledger.greatest)
    assert again.room(light(20)) == 10
    assert again.room(light(400)) == 20


def test_light_after_the_last_save_is_found_in_the_frames(tmp_path: Path) -> None:
    from live.recording.journal_schema import FRAME_COLUMNS

    ledger = DoseLedger(LightSettings())
    folder = RunFolder.create(tmp_path / "run")
    with Journal(folder.journal) as journal:
        ledger.begin(light(), 1)
        ledger.end(1, 0)
        save(ledger, journal)
        for seq in (0, 1, 2):
            values = {"seq": seq, "exposure_ms": 100.0, "x_um": 0.0, "y_um": 0.0, "channel": "DAPI"}
            texts = ("store", "channel", "pos_name", "dtype", "index_json")
            row = {name: values.get(name, "" if name in texts else seq) for name in FRAME_COLUMNS}
            journal.announce(row)
        journal.confirm([1])
    again = DoseLedger(LightSettings())
    carry_over(again, folder.path)
    assert again.totals.dose == pytest.approx(0.3)
    assert again.greatest == pytest.approx(0.3)


def test_a_run_without_a_ledger_is_told(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    with Journal(folder.journal):
        pass
    with pytest.raises(SettingsError, match="kept no count of its light"):
        carry_over(DoseLedger(), folder.path)
    with pytest.raises(SettingsError, match="not a recorded run"):
        carry_over(DoseLedger(), tmp_path)


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as found:
        return np.asarray(found.convert("L")).astype(int)


def test_the_picture_shows_where_most_light_fell(tmp_path: Path) -> None:
    doses = DoseMap()
    path = tmp_path / "light.png"
    assert not write_picture(path, doses, "s")
    doses.add(Field(0, 0, 100, 100), 1.0)
    doses.add(Field(100, 0, 100, 100), 4.0)
    assert write_picture(path, doses, "s at power 1", cap=4.0)
    pixels = picture(path)
    dim, bright = pixels[60, 60], pixels[60, 12 + 24 * 8 + 60]
    assert bright > dim + 60
    # A plate: far apart, and still a small picture.
    doses.add(Field(100_000, 60_000, 100, 100), 2.0)
    assert write_picture(path, doses, "s")
    assert max(picture(path).shape) < 1500
    json.dumps(DoseLedger().to_json(), allow_nan=False)
