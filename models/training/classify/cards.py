"""What the model cards of classifiers say; figures and counts are filled in."""

from __future__ import annotations

CARD = """
## What it does
Windows around objects go in, (n, 3, {crop}, {crop}): the image, the object's mask, the masks of
others; and how large and bright the object is beside the others of its image, (n, 3). The
probability of each class comes out, (n, {count}). A window is {reach:g} times as wide as its
object, so magnification does not matter; counts are taken against the dark around the object, so
gain and offset do not matter. A residual network of {weights:,} weights; the softmax with its
temperature, {temperature:.2f}, is inside the ONNX file.

## Trained on
{trained}

Trained for {minutes:.1f} minutes by the clock.
{about}
## Figures on held-out examples
Balanced accuracy **{accuracy:.3f}**, expected calibration error **{error:.3f}**, {held} objects.

{table}

{formula}. The temperature of each half of the held-out examples was fitted on the other half.
"""

OWN_ABOUT = """
## Limits
It knows what it was shown: another stain, microscope or cell line may need examples of its own.
Held-out examples come from the same images as the others, so expect less on a new day.
"""

PHASES_ABOUT = """
The examples were drawn: `python -m drivers.simulated.fields --states` draws fields of fluorescent
nuclei that divide and die, of 12 to 48 px, at 5 to 1000 photons a pixel, sharp and blurred, sparse
and crowded. Interphase: even discs with grain, some long, some out of focus. Mitotic: rounded and
condensed, plates, rings, and plates that part. Dead: shrunken smooth balls, heaps of fragments,
ghosts, and debris. Reproduce with
`python -m models.training.classify.make_phases --data FIELDS --test OTHERS --out DIR`.

## Limits
Fluorescent DNA stains. The drawn states are idealised: no real image of a dividing or dying cell
was learned from, so on your own cells measure it first, or train on clicks of your own
(`parfocal models train classify`), which starts from these weights. A field where hardly any
cell is alive misleads it, because what is usual in the image counts.

## Figures on drawn fields of other seeds
{levels}
"""
