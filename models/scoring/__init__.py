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
from models.scoring.tracks import TrackScores, segmentation_accuracy, track_scores

__all__ = [
    "FORMULA",
    "LIMITS",
    "Agreement",
    "Contingency",
    "Fates",
    "InstanceScores",
    "TrackScores",
    "agreement",
    "compare",
    "contingency",
    "fates",
    "matches",
    "overlaps",
    "pooled",
    "segmentation_accuracy",
    "track_scores",
]
