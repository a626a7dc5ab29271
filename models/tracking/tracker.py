"""The online tracker: one frame in, ids out, before the next frame is there.

Each frame: expect where tracks are, price the candidates near by, look at where sure neighbours
went and price again, then decide links, divisions, ends and newcomers together at the least total
price. Where much is doubtful, decide again with what this frame itself shows to be usual. What was
published is never changed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext
from models.settings import TrackSettings
from models.tracking import state
from models.tracking.bodies import AWAY, Bodies, Reals, bodies_from_objects, middle, probes_of
from models.tracking.fates import Fates, foresee
from models.tracking.hypotheses import Scene
from models.tracking.joint import Settled
from models.tracking.learning import Grounds, learn
from models.tracking.linking import link
from models.tracking.tracks import Tracked
from models.tracking.view import Field, View

Table = NDArray[np.void]
Labels = NDArray[np.integer[Any]]


@dataclass(slots=True)
class TrackUpdate:
    """What the tracker says of each object, in the order of the object table."""

    track_id: NDArray[np.int64]
    parent_id: NDArray[np.int64]
    age_frames: NDArray[np.int32]
    divided: NDArray[np.bool_]
    speed_px: NDArray[np.float32]


class Tracker:
    """Gives objects ids that last. One thread uses it; memory is bounded by ``max_tracks``."""

    def __init__(self, settings: TrackSettings) -> None:
        self._settings = settings
        self._memory = state.Memory()
        self._tracks: Table = np.zeros(0, dtype=state.TRACK_DTYPE)
        self.passed_over = 0
        """Candidates left out because too many objects lay on one spot."""
        self.forgotten = 0
        """Tracks dropped because more than ``max_tracks`` were kept."""

    def update(self, objects: Table, labels: Labels | None, context: ImageContext) -> TrackUpdate:
        """Ids of the objects of the next image.

        Parameters
        ----------
        objects
            (n,) of ``OBJECT_DTYPE``; order and label values do not matter.
        labels
            (y, x) label image, or None where there are only points.
        context
            When and where the image was taken; with ``px_to_um`` tracks live on the stage, so a
            stage move loses none that stays in view.
        """
        view = View(context)
        # ids must not depend on how a segmentation happens to number its objects
        order = np.lexsort((objects["area_px"], objects["x_px"], objects["y_px"]))
        table = objects[order]
        self._start(context, view)
        tracks, memory = self._tracks, self._memory
        waited = memory.clock - tracks["clock"]
        steps = np.clip(waited / memory.revisit, 0.1, 4.0)
        found = bodies_from_objects(table)
        if labels is not None:
            # of a body that the border cuts, neither size nor shape is known
            whole = _whole(table, labels.shape)
            found.sized &= whole
            found.shaped &= whole
        expected, last = self._expect(view, steps)
        field = Field(labels, expected, found, self._shown_before(view))
        in_view = field.inside(expected.place)
        edge = field.at_border(expected), field.at_border(found)
        new = field.on_new_ground(expected), field.on_new_ground(found)
        habits, probes = memory.habits, view.offsets_to_image(tracks["probes"])
        if len(tracks):
            habits = replace(habits, area=middle(expected.area))
        tracked = Tracked(
            expected,
            probes,
            np.count_nonzero(probes[:, :, 0] != AWAY, axis=1).astype(np.float64),
            tracks["missed"],
            steps,
            self._fates(edge[0]),
        )
        scene = Scene(found, table["label"], labels, edge[1], new[1])
        links, over = link(tracked, scene, habits, self._settings)
        self.passed_over += over
        known = in_view & ~new[0], ~new[1]
        grounds = Grounds(
            known[0] & ~edge[0], known[1] & ~edge[1], known[0] & edge[0], known[1] & edge[1]
        )
        speed = view.vector_to_image(tracks["speed"])
        learn(memory, links, tracked, found, last, speed, waited, grounds)
        if found.sized.any():
            memory.usual_area = middle(found.area[found.sized]) * view.scale
        (y0, x0), (y1, x1) = view.to_world(field.corners()).tolist()
        memory.shown = ((y0, x0), (y1, x1))
        probes = probes_of(found, labels, table["label"])
        update = self._publish(links, found, last, probes, view, steps, in_view)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return TrackUpdate(*(getattr(update, one.name)[back] for one in fields(update)))

    def export_state(self) -> bytes:
        """Everything that the next ids depend on."""
        return state.encode(self._memory, self._tracks)

    def restore_state(self, saved: bytes) -> None:
        """Go on from ``export_state`` of another tracker; raises ``PipelineError``."""
        self._memory, self._tracks = state.decode(saved, self._settings.max_tracks)

    def _start(self, context: ImageContext, view: View) -> None:
        memory = self._memory
        if memory.frames and view.calibrated != memory.calibrated:
            # places in µm and in pixels cannot be compared: all start anew, under new ids
            self._tracks = self._tracks[:0]
            memory.shown = None
        memory.calibrated = view.calibrated
        memory.tick(context.seq, context.time_s)

    def _shown_before(self, view: View) -> Reals | None:
        """What the last frame showed, in the pixels of this one."""
        shown = self._memory.shown
        return None if shown is None else view.to_image(np.array(shown))

    def _expect(self, view: View, steps: Reals) -> tuple[Bodies, Reals]:
        """Tracks as they should look in this image, and where they were last seen in it."""
        tracks = self._tracks
        ahead = tracks["speed"] * (self._memory.persistence * np.minimum(steps, 2.0))[:, None]
        expected = Bodies(
            view.to_image(tracks["place"] + ahead),
            view.spread_to_image(tracks["spread"]),
            tracks["area"] / view.scale,
            tracks["shaped"].copy(),
            tracks["sized"].copy(),
        )
        return expected, view.to_image(tracks["place"])

    def _fates(self, at_border: NDArray[np.bool_]) -> Fates:
        tracks, memory = self._tracks, self._memory
        end = np.where(at_border, memory.edge_ends, memory.ends)
        return foresee(
            memory.odds,
            tracks["area"],
            tracks["sized"],
            memory.usual_area,
            tracks["seen"],
            tracks["daughter"],
            memory.divisions,
            end,
        )

    def _publish(
        self,
        links: Settled,
        found: Bodies,
        last: Reals,
        probes: NDArray[np.float32],
        view: View,
        steps: Reals,
        in_view: NDArray[np.bool_],
    ) -> TrackUpdate:
        tracks, memory, n = self._tracks, self._memory, len(found)
        new: Table = np.zeros(n, dtype=state.TRACK_DTYPE)
        update = TrackUpdate(
            np.zeros(n, np.int64), np.zeros(n, np.int64), np.ones(n, np.int32),
            np.zeros(n, bool), np.zeros(n, np.float32),
        )  # fmt: skip
        place = view.to_world(found.place)

        mothers = np.flatnonzero(links.second >= 0)
        for child in (links.first[mothers], links.second[mothers]):
            update.parent_id[child] = tracks["id"][mothers]
            update.divided[child] = True
        kept = np.flatnonzero((links.first >= 0) & (links.second < 0))
        to = links.first[kept]
        update.track_id[to] = tracks["id"][kept]
        update.age_frames[to] = tracks["seen"][kept] + 1
        update.speed_px[to] = np.hypot(*(found.place[to] - last[kept]).T)
        fresh = np.flatnonzero(update.track_id == 0)
        update.track_id[fresh] = memory.next_id + np.arange(len(fresh))
        memory.next_id += len(fresh)

        moved = (place[to] - tracks["place"][kept]) / steps[kept, None]
        known = tracks["seen"][kept, None] > 1
        new["speed"][to] = np.where(known, (moved + tracks["speed"][kept]) / 2, moved)
        new["id"], new["seen"], new["place"] = update.track_id, update.age_frames, place
        new["daughter"][to] = tracks["daughter"][kept]
        new["daughter"][update.divided] = True
        new["clock"] = memory.clock
        new["spread"] = view.spread_to_world(found.spread)
        new["shaped"], new["sized"] = found.shaped, found.sized
        new["area"] = found.area * view.scale
        new["probes"] = view.offsets_to_world(probes)

        lost = tracks[links.first < 0]
        lost["missed"] += in_view[links.first < 0]
        lost = lost[lost["missed"] <= self._settings.max_gap_frames]
        room = max(0, self._settings.max_tracks - n)
        if len(lost) > room:
            self.forgotten += len(lost) - room
            lost = lost[np.argsort(-lost["clock"], kind="stable")[:room]]
        new = new[: self._settings.max_tracks]
        self._tracks = np.concatenate([new, lost]) if len(lost) else new
        return update


def _whole(table: Table, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which objects do not touch the border of the image."""
    low = (table["bbox_y0"] > 0) & (table["bbox_x0"] > 0)
    return np.asarray(low & (table["bbox_y1"] < shape[0]) & (table["bbox_x1"] < shape[1]))
