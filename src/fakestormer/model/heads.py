"""The three heads (paper 3.2.2 - 3.2.4), and one of ours.

Legend: b clips, t frames T, n positions N = G * G, d channels D, G grid side.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class ClassificationHead(nn.Module):
    """f, eq. 12: temporal tokens -> one logit of "fake" per clip."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, 1)

    def forward(self, z_t_bnd: Tensor) -> Tensor:
        """(b, n, d) -> (b,), mean over positions first."""
        logit_b1: Tensor = self.linear(self.dropout(z_t_bnd.mean(dim=1)))
        return logit_b1.squeeze(1)


class SurroundingsHead(nn.Module):
    """f on what an EfficientNet stem sees inside the face and around it. Not in the paper.

    A blended face differs from what surrounds it, by a sharpness that no single picture gives away:
    how sharp a video is varies more between cameras than between a face and its hair. So f is
    linear in four means of each channel, over the regions from the middle of the face outwards
    (`face_regions`). Few weights on features that nothing was trained for carried over to swaps of
    tools never seen better than whole networks trained on pseudo-fakes (docs/experiments.md,
    2026-11-29 and 2026-11-30).

    Standardised means beyond LIMIT count as LIMIT: one channel that a strange video drives far out
    does not decide alone.

    All but the linear layer is fitted, not trained (`training.surroundings`): mean, scale: (r c,),
    standardise the means over r regions. `distance` measures from centres: (2, r c), of real and
    pseudo-fake frames, by the precision matrix elsewhere I + axes' diag(along) axes. axes:
    (a, r c), orthonormal, those along which the means vary most. along: (a,). elsewhere: ().
    """

    mean: Tensor
    scale: Tensor
    centres: Tensor
    axes: Tensor
    along: Tensor
    elsewhere: Tensor
    regions: Tensor

    LIMIT = 2.0
    #: Axes at most. The whole matrix would take more memory than the network.
    AXES = 256

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        regions_ryx = face_regions(grid)
        means = len(regions_ryx) * channels
        self.linear = nn.Linear(means, 1)
        self.register_buffer("mean", torch.zeros(means))
        self.register_buffer("scale", torch.ones(means))
        self.register_buffer("centres", torch.zeros(2, means))
        self.register_buffer("axes", torch.zeros(min(self.AXES, means), means))
        self.register_buffer("along", torch.zeros(len(self.axes)))
        self.register_buffer("elsewhere", torch.zeros(()))
        self.register_buffer("regions", regions_ryx, persistent=False)

    def means(self, seen_btcyx: Tensor) -> Tensor:
        """(b, t, c, G, G) -> (b, t, r c): each channel's mean in each region, inside ones first."""
        means = torch.einsum("btcyx, ryx -> btrc", seen_btcyx, self.regions.to(seen_btcyx.dtype))
        return rearrange(means, "b t r c -> b t (r c)")

    def forward(self, seen_btcyx: Tensor) -> Tensor:
        """(b, t, c, G, G) -> (b,), the mean over frames."""
        x_btk = self._standardised(seen_btcyx).clamp(-self.LIMIT, self.LIMIT)
        logit_bt1: Tensor = self.linear(x_btk)
        return logit_bt1.mean(dim=(1, 2))

    def evidence(self, seen_btcyx: Tensor) -> Tensor:
        """What each patch adds to its frame's logit, (b, t, G, G): exact, because f is linear.

        Measured from the means that f was fitted around; a channel beyond the limit counts less.
        Summed over patches and averaged over frames it is the logit less the bias.
        """
        mean_rc, scale_rc, weight_rc = (
            rearrange(k, "(r c) -> r c", r=len(self.regions))
            for k in (self.mean, self.scale, self.linear.weight.squeeze(0))
        )
        x_btk = self._standardised(seen_btcyx)
        kept_btk = self.LIMIT / x_btk.abs().clamp(min=self.LIMIT)
        kept_btrc = rearrange(kept_btk, "b t (r c) -> b t r c", r=len(self.regions))
        slope_btrc = weight_rc * scale_rc * kept_btrc
        parts_btryx = torch.einsum("btcyx, btrc -> btryx", seen_btcyx, slope_btrc)
        parts_btryx = parts_btryx - (slope_btrc * mean_rc).sum(dim=3)[..., None, None]
        return (parts_btryx * self.regions).sum(dim=2)

    def distance(self, seen_btcyx: Tensor) -> Tensor:
        """(b, t, c, G, G) -> (b,), how unlike the training frames a clip is, the mean over frames.

        Squared Mahalanobis distance to the nearer class, in units of what 99 % of the people left
        out of a fit stay under; 0 where nothing was fitted.
        """
        from_btrk = self._standardised(seen_btcyx)[:, :, None] - self.centres
        along_btra = torch.einsum("btrk, ak -> btra", from_btrk, self.axes).square() * self.along
        squared_btr = along_btra.sum(dim=3) + self.elsewhere * from_btrk.square().sum(dim=3)
        return squared_btr.amin(dim=2).mean(dim=1)

    def _standardised(self, seen_btcyx: Tensor) -> Tensor:
        return (self.means(seen_btcyx) - self.mean) * self.scale


#: Half axes (x, y) of the ellipse in which faces lie, as shares of half the crop.
_FACE_AXES = (0.62, 0.78)
#: The squared radii within it where the middle of the face, what is around the middle, and the ring
#: around the face end; the rest of the crop is the fourth region.
_ENDS = (0.3, 0.55, 1.1)


def face_regions(grid: int) -> Tensor:
    """Weights of the patches, (r, G, G), from the middle of the face outwards.

    Each region's have the sum 1, or 0 where the grid is so coarse that no patch lies in it.
    """
    place = (torch.arange(grid) + 0.5) * 2 / grid - 1
    radius_yx = (place / _FACE_AXES[0]).square() + (place / _FACE_AXES[1]).square()[:, None]
    region_yx = torch.bucketize(radius_yx, torch.tensor(_ENDS), right=True)
    patches_ryx = F.one_hot(region_yx, len(_ENDS) + 1).movedim(2, 0).float()
    return patches_ryx / patches_ryx.sum(dim=(1, 2), keepdim=True).clamp(min=1)


class TemporalHead(nn.Module):
    """h, eqs. 6 and 7: patch tokens -> the derivative D~, by convolutions along time only.

    The last convolution is bare: D^ is standardised and has both signs, which a BatchNorm and GELU
    after it (as the text of the paper could be read) could not reach.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _along_time(width, width)
        self.norm1 = nn.BatchNorm3d(width, momentum=0.05)
        self.conv2 = _along_time(width, width // 4)
        self.norm2 = nn.BatchNorm3d(width // 4, momentum=0.05)
        self.conv3 = _along_time(width // 4, 1)

    def forward(self, volume_bdtyx: Tensor) -> Tensor:
        """F (b, d, t, G, G) of `patch_volume` -> D~ (b, t, G, G), not squashed."""
        x = F.gelu(self.norm1(self.conv1(volume_bdtyx)))
        x = F.gelu(self.norm2(self.conv2(x)))
        derivative_b1tyx: Tensor = self.conv3(x)
        return derivative_b1tyx.squeeze(1)


class SpatialHead(nn.Module):
    """g, eq. 10: spatial tokens -> one logit of p(t) per frame, the same weights for all frames.

    The release's last layer sees all frames at once, which ties it to one T; this one does not.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, width // 4)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(width // 4, 1)

    def forward(self, z_s_btd: Tensor) -> Tensor:
        """(b, t, d) -> (b, t)."""
        logits_bt1: Tensor = self.linear2(self.dropout(F.gelu(self.linear1(z_s_btd))))
        return logits_bt1.squeeze(2)


class BoundaryHead(nn.Module):
    """b: patch tokens -> one logit of B~ per patch and frame. Not in the paper.

    h is told only how the boundary changes, which in a still clip is nothing, and g only how strong
    it is somewhere. From scratch, being told where it lies is what teaches soonest.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, z_btnd: Tensor, grid: int) -> Tensor:
        """Z (b, t, n, d) -> (b, t, G, G)."""
        logits_btn1: Tensor = self.linear(z_btnd)
        return rearrange(logits_btn1, "b t (y x) 1 -> b t y x", y=grid, x=grid)


def patch_volume(z_btnd: Tensor, grid: int) -> Tensor:
    """Eq. 6: patch tokens (b, t, n, d), positions row by row, -> the volume F (b, d, t, G, G)."""
    return rearrange(z_btnd, "b t (y x) d -> b d t y x", y=grid, x=grid)


def _along_time(channels_in: int, channels_out: int) -> nn.Conv3d:
    return nn.Conv3d(channels_in, channels_out, kernel_size=(3, 1, 1), padding=(1, 0, 0))
