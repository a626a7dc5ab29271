"""From camera counts to label image as one graph: normalise, network, find centres, gather."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.training.segment.gather import Grouping, gather
from models.training.segment.views import HIGH_PERCENTILE, LOW_PERCENTILE, STRIDE_PX, two_views


class CountsToLabels(nn.Module):
    """Camera counts (y, x) to label image and probability.

    Parameters
    ----------
    net
        Trained `SegmentNet`, or `LeanNet` of one, in evaluation mode.
    how
        Grouping.
    """

    def __init__(self, net: nn.Module, how: Grouping | None = None) -> None:
        super().__init__()
        self.net, self.how = net, how or Grouping()

    def forward(
        self, image: Tensor, limits: Tensor | None = None, centre: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Label an image.

        Parameters
        ----------
        image
            (y, x) float32 camera counts; both multiples of 16.
        limits
            (2,) float32, the counts that become 0 and 1; where the second is not above the first,
            as in zeros, the image's own percentiles are taken. Tiles of one image share theirs.
        centre
            (1,) float32, how high a peak must be to be a centre; 0 takes that of the grouping.

        Returns
        -------
        labels
            (y, x) int32, 0 is background; numbered by the raster order of the centres, a number
            whose centre drew no pixel is missing.
        probability
            (y, x) float32, of being in an object.
        """
        raw = self.net(two_views(self._normalised(image, limits)[None, None]))
        return gather(raw.squeeze(0), self.how, centre)

    def _normalised(self, image: Tensor, limits: Tensor | None = None) -> Tensor:
        counts, _ = torch.sort(image[::STRIDE_PX, ::STRIDE_PX].reshape(-1))
        last = counts.shape[0] - 1
        # nearest rank, in integers, so that a dynamic size exports
        low = counts[(last * int(LOW_PERCENTILE * 10) + 500) // 1000]
        high = counts[(last * int(HIGH_PERCENTILE * 10) + 500) // 1000]
        if limits is not None:
            given = limits[1] > limits[0]
            low, high = torch.where(given, limits[0], low), torch.where(given, limits[1], high)
        return (image - low) / (high - low).clamp(min=1e-6)
