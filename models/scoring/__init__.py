"""How good results are, by named formulas; track metrics need the ``score`` extra."""

from models.scoring.contingency import Contingency, contingency
from models.scoring.instances import (
    FORMULA,
    LIMITS,
    Agreement,
    Fates,
    InstanceScores,
    agreement,
    compare,
    fates,
    matches,
    overlaps,
    pooled,
)
from models.scoring.tracks import (
    Fate,
    Forest,
    TrackComparison,
    TrackScores,
    compare_tracks,
    segmentation_accuracy,
    track_scores,
)

__all__ = [
    "FORMULA",
    "LIMITS",
    "Agreement",
    "Contingency",
    "Fate",
    "Fates",
    "Forest",
    "InstanceScores",
    "TrackComparison",
    "TrackScores",
    "agreement",
    "compare",
    "compare_tracks",
    "contingency",
    "fates",
    "matches",
    "overlaps",
    "pooled",
    "segmentation_accuracy",
    "track_scores",
]
