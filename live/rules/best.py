"""The best few objects of each position, chosen once all of it was seen. Pure and bounded."""

from __future__ import annotations

from drivers import FrameMeta
from live.rules.candidates import Candidate
from live.rules.settings import BestSettings

Place = tuple[int, str]


class Ranking:
    """Collects candidates of one rule, position after position."""

    def __init__(self, settings: BestSettings) -> None:
        self._settings = settings
        self._place: Place | None = None
        self._frames = 0
        self._best: dict[int, tuple[float, Candidate]] = {}

    def take(self, meta: FrameMeta, scored: list[tuple[float, Candidate]]) -> list[Candidate]:
        """Take a frame of the plan in; the best of a position that is done now, best first.

        Parameters
        ----------
        meta
            How the frame was taken.
        scored
            Value and candidate of each object that fulfils the condition; NaN is not ranked.
        """
        place = (meta.index.get("p", -1), meta.pos_name)
        done: list[Candidate] = []
        if self._place is not None and place != self._place:
            done = self._chosen()
        self._place = place
        self._frames += 1
        for value, candidate in scored:
            old = self._best.get(candidate.track_id)
            if value == value and (old is None or value > old[0]):
                self._best[candidate.track_id] = (value, candidate)
        if len(self._best) > 2 * self._settings.count:
            self._best = dict(self._sorted()[: self._settings.count])
        if self._frames == self._settings.after_frames:
            done += self._chosen()
        return done

    def _sorted(self) -> list[tuple[int, tuple[float, Candidate]]]:
        return sorted(self._best.items(), key=lambda item: (-item[1][0], item[0]))

    def _chosen(self) -> list[Candidate]:
        chosen = [item[1][1] for item in self._sorted()[: self._settings.count]]
        self._best.clear()
        self._frames = 0
        return chosen
