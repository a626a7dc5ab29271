"""The online tracker: one frame in, ids out, before the next frame is there.

Each frame: expect where tracks are, price the candidates near by, look at where sure neighbours
went and price again, then decide links, divisions, ends and newcomers together at the least total
price. Where much is doubtful, decide again with what this frame itself shows to be usual. What was
published is never changed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext
from models.settings import TrackSettings
from models.tracking import state
from models.tracking.bodies import (
    AWAY,
    Bodies,
    Ints,
    Reals,
    bodies_from_objects,
    middle,
    probes_of,
    true_in_rows,
)
from models.tracking.costs import Habits
from models.tracking.fates import Fates, foresee
from models.tracking.hypotheses import Scene
from models.tracking.joint import Settled
from models.tracking.learning import Grounds, learn
from models.tracking.linking import link
from models.tracking.tracks import Tracked
from models.tracking.view import Field, View
from models.tracking.visits import clock_since, remembered

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


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """What one frame means to a tracker, decided but not yet remembered.

    Tracks are rows (m,) of ``tracks``, objects rows (n,) of the table in the order ``order``.
    """

    memory: state.Memory
    tracks: Table
    view: View
    order: Ints
    """(n,) row of the object table that each object here is."""
    tracked: Tracked
    scene: Scene
    habits: Habits
    links: Settled
    grounds: Grounds
    last: Reals
    """(m, 2) where the tracks were seen, y, x of this image."""
    waited: Reals
    """(m,) the clock since."""
    in_view: NDArray[np.bool_]
    """(m,)"""
    corners: Reals
    """(2, 2) of the image."""
    passed_over: int


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
        return self.accept(self.propose(objects, labels, context))

    def propose(self, objects: Table, labels: Labels | None, context: ImageContext) -> Proposal:
        """What `update` would decide of these objects; nothing is remembered yet."""
        view = View(context)
        # ids must not depend on how a segmentation happens to number its objects
        order = _by_place(objects)
        table = objects.take(order)  # a twentieth of the time of objects[order]
        memory, tracks = self._start(context, view)
        waited = memory.clock - tracks["clock"]
        steps = np.clip(waited / memory.revisit, 0.1, 4.0)
        found = bodies_from_objects(table)
        if labels is not None:
            # of a body that the border cuts, neither size nor shape is known
            whole = _whole(table, labels.shape)
            found.sized &= whole
            found.shaped &= whole
        expected, last = _expect(memory, tracks, view, steps)
        shown = None if memory.shown is None else view.to_image(np.array(memory.shown))
        field = Field(labels, expected, found, shown)
        in_view = field.inside(expected.place)
        edge = field.at_border(expected), field.at_border(found)
        new = field.on_new_ground(expected), field.on_new_ground(found)
        habits, probes = memory.habits, view.offsets_to_image(tracks["probes"])
        if len(tracks):
            habits = replace(habits, area=middle(expected.area))
        tracked = Tracked(
            expected,
            probes,
            true_in_rows(probes[:, :, 0] != AWAY).astype(np.float64),
            tracks["missed"],
            steps,
            _fates(memory, tracks, edge[0]),
        )
        unseen = clock_since(memory.visits, memory.clock, view.to_world(found.place))
        unseen /= max(memory.revisit, 1.0)
        scene = Scene(found, table["label"], labels, edge[1], new[1], unseen)
        links, over = link(tracked, scene, habits, self._settings)
        known = in_view & ~new[0], ~new[1]
        grounds = Grounds(
            known[0] & ~edge[0], known[1] & ~edge[1], known[0] & edge[0], known[1] & edge[1]
        )
        return Proposal(
            memory, tracks, view, order, tracked, scene, habits, links, grounds,
            last, waited, in_view, field.corners(), over,
        )  # fmt: skip

    def accept(self, proposal: Proposal) -> TrackUpdate:
        """Remember and publish the newest proposal."""
        view, tracked, scene = proposal.view, proposal.tracked, proposal.scene
        self._memory, self._tracks = proposal.memory, proposal.tracks
        memory, tracks, found = self._memory, self._tracks, scene.found
        self.passed_over += proposal.passed_over
        speed = view.vector_to_image(tracks["speed"])
        learn(
            memory, proposal.links, tracked, found, proposal.last, speed, proposal.waited,
            proposal.grounds,
        )  # fmt: skip
        if found.sized.any():
            memory.usual_area = middle(found.area[found.sized]) * view.scale
        (y0, x0), (y1, x1) = view.to_world(proposal.corners).tolist()
        memory.shown = ((y0, x0), (y1, x1))
        memory.visits = remembered(memory.visits, memory.clock, *memory.shown)
        probes = probes_of(found, scene.labels, scene.values)
        update = self._publish(
            proposal.links, found, proposal.last, probes, view, tracked.steps, proposal.in_view
        )
        back = np.empty_like(proposal.order)
        back[proposal.order] = np.arange(len(back))
        return TrackUpdate(*(getattr(update, one.name)[back] for one in fields(update)))

    @property
    def next_id(self) -> int:
        """Number of the next new track."""
        return self._memory.next_id

    @next_id.setter
    def next_id(self, number: int) -> None:
        self._memory.next_id = number

    def export_state(self) -> bytes:
        """Everything that the next ids depend on."""
        return state.encode(self._memory, self._tracks)

    def restore_state(self, saved: bytes) -> None:
        """Go on from ``export_state`` of another tracker; raises ``PipelineError``."""
        self._memory, self._tracks = state.decode(saved, self._settings.max_tracks)

    def _start(self, context: ImageContext, view: View) -> tuple[state.Memory, Table]:
        """Memory, a copy with its clock set on, and tracks that this image goes on from."""
        memory, tracks = msgspec.structs.replace(self._memory), self._tracks
        if memory.frames and view.calibrated != memory.calibrated:
            # places in µm and in pixels cannot be compared: all start anew, under new ids
            tracks = tracks[:0]
            memory.shown = None
            memory.visits = ()
        memory.calibrated = view.calibrated
        memory.tick(context.seq, context.time_s)
        return memory, tracks

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
        y, x = (found.place.take(to, axis=0) - last.take(kept, axis=0)).T
        update.speed_px[to] = np.hypot(y, x)
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
        new["born"] = new["area"]
        new["born"][to] = tracks["born"][kept]
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


def _by_place(objects: Table) -> Ints:
    """Order by y, then x, then area."""
    y = np.ascontiguousarray(objects["y_px"])
    order = np.argsort(y)
    same = np.flatnonzero(np.diff(y.take(order)) == 0)
    if len(same):
        # only those on one line are sorted further: a tenth of the time of sorting all by three
        at = np.union1d(same, same + 1)
        tied = objects.take(order.take(at))
        order[at] = order.take(at).take(np.lexsort((tied["area_px"], tied["x_px"], tied["y_px"])))
    return order


def _expect(memory: state.Memory, tracks: Table, view: View, steps: Reals) -> tuple[Bodies, Reals]:
    """Tracks as they should look in this image, and where they were last seen in it."""
    ahead = tracks["speed"] * (memory.persistence * np.minimum(steps, 2.0))[:, None]
    expected = Bodies(
        view.to_image(tracks["place"] + ahead),
        view.spread_to_image(tracks["spread"]),
        tracks["area"] / view.scale,
        tracks["shaped"].copy(),
        tracks["sized"].copy(),
    )
    return expected, view.to_image(tracks["place"])


def _fates(memory: state.Memory, tracks: Table, at_border: NDArray[np.bool_]) -> Fates:
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


def _whole(table: Table, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which objects do not touch the border of the image."""
    low = (table["bbox_y0"] > 0) & (table["bbox_x0"] > 0)
    return np.asarray(low & (table["bbox_y1"] < shape[0]) & (table["bbox_x1"] < shape[1]))
