"""How good results are, by named formulas; track metrics need the ``score`` extra."""

from models.scoring.instances import FORMULA, Agreement, agreement
from models.scoring.tracks import TrackScores, segmentation_accuracy, track_scores

__all__ = [
    "FORMULA",
    "Agreement",
    "TrackScores",
    "agreement",
    "segmentation_accuracy",
    "track_scores",
]
