"""Online tracking with lineage: ids for the objects of each frame before the next one comes."""

from models.tracking.tracker import Tracker, TrackUpdate

__all__ = ["TrackUpdate", "Tracker"]
