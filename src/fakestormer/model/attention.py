"""Divided space-time attention with spatial and temporal tokens (paper 3.2.1, 6.10).

Legend of shapes, one letter per axis:

    b clips    t frames T    n patch positions N = G * G    d channels D    h attention heads
    r rows: independent token sequences    l tokens of one sequence
    s spatial tokens per clip: T (tokens "separate") or 1 ("averaged")
    k tokens of each frame beside its patches: the spatial one, then the registers
    p temporal tokens per clip: N (tokens "separate") or 1 ("averaged")

The tokens of a clip are a (T+1) x (N+1) matrix, held as three tensors. The corner exists in the
paper to complete the matrix; it takes part in no attention, so here it does not exist:

                     position 0     positions 1..N
    frames 1..T      z_s  b s k d   z_btnd              <- spatial attention: along each row
    extra row        (corner)       z_t  b p d
                                      ^ temporal attention: along each column
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fakestormer.model.rotation import Rotation
from fakestormer.recipe.model import Activation


def drop_rows(y: Tensor, probability: float, *, training: bool) -> Tensor:
    """Stochastic depth: zero whole entries of y along its first axis.

    y: (r, ...). Every row is dropped with `probability` on its own; what stays is divided by the
    probability to stay, so that the expectation does not change. Identity outside training.
    """
    if not training or probability == 0.0:
        return y
    keep = 1.0 - probability
    scale = torch.full((y.shape[0], *([1] * (y.ndim - 1))), keep, dtype=y.dtype, device=y.device)
    return y * torch.bernoulli(scale).div_(keep)


def attend(q_rhlc: Tensor, k_rhlc: Tensor, v_rhlc: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(c)) v within rows and heads, (r, h, l, c) -> the same; fused.

    But for bfloat16 training on a CPU, whose fused kernel is 2 to 4 times slower going backward
    than plain products, in short rows and long ones (benchmarks/network.py); forward alone and in
    float32 it is the faster one.
    """
    if q_rhlc.device.type == "cpu" and q_rhlc.dtype == torch.bfloat16 and q_rhlc.requires_grad:
        scores_rhll = (q_rhlc * q_rhlc.shape[-1] ** -0.5) @ k_rhlc.transpose(-2, -1)
        return torch.softmax(scores_rhll, dim=-1).to(v_rhlc.dtype) @ v_rhlc
    return F.scaled_dot_product_attention(q_rhlc, k_rhlc, v_rhlc)


class Attention(nn.Module):
    """Multi-head self-attention within rows; qkv has a bias.

    rotation: turns queries and keys by their place; attentions may share one.
    """

    def __init__(self, width: int, heads: int, rotation: Rotation | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.rotation = rotation
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_rld: Tensor) -> Tensor:
        """(r, l, d) -> (r, l, d); no row sees another."""
        q, k, v = self._qkv(x_rld)
        y: Tensor = self.proj(rearrange(attend(q, k, v), "r h l c -> r l (h c)"))
        return y

    def first_token_weights(self, x_rld: Tensor) -> Tensor:
        """What each row's first token attends to: (r, h, l), sums to 1 along l."""
        q, k, _ = self._qkv(x_rld)
        scores_rhl = torch.einsum("r h c, r h l c -> r h l", q[:, :, 0], k) * q.shape[-1] ** -0.5
        return torch.softmax(scores_rhl, dim=-1)

    def _qkv(self, x_rld: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # chunk, not indexing: its gradient is one concatenation instead of three padded tensors.
        q, k, v = (
            rearrange(part, "r l (h c) -> r h l c", h=self.heads)
            for part in self.qkv(x_rld).chunk(3, dim=-1)
        )
        if self.rotation is not None:
            q, k = self.rotation(q), self.rotation(k)
        return q, k, v


class MLP(nn.Module):
    """Linear, GELU, linear; every token on its own.

    activation: "quick_gelu" is x * sigmoid(1.702 x), an approximation that CLIP was trained with.
    """

    def __init__(self, width: int, hidden: int, activation: Activation = "gelu") -> None:
        super().__init__()
        self.activation = activation
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        x = F.gelu(x) if self.activation == "gelu" else x * torch.sigmoid(1.702 * x)
        y: Tensor = self.fc2(x)
        return y


class DividedLayers(nn.Module):
    """The layers of a block with divided attention, and what each of its three branches adds.

    Temporal attention runs along the time line of each position and ends in a linear layer that
    starts at zero, so that the untrained block is the image model's. Spatial attention runs within
    each frame, whose first token comes from outside the patches. Which tokens those are, and where
    they go, is the business of the subclasses.

    Stochastic depth drops whole branches: of one (clip, position) in temporal attention, one
    (clip, frame) in spatial attention, one clip in the MLP. The release drops before the linear
    layer, whose bias then survives; here the whole branch goes.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_hidden: int,
        drop_path: float,
        norm_eps: float,
        activation: Activation = "gelu",
        rotation: Rotation | None = None,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.temporal_norm = nn.LayerNorm(width, eps=norm_eps)
        self.temporal_attention = Attention(width, heads)
        self.temporal_linear = nn.Linear(width, width)
        self.spatial_norm = nn.LayerNorm(width, eps=norm_eps)
        self.spatial_attention = Attention(width, heads, rotation)
        self.mlp_norm = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = MLP(width, mlp_hidden, activation)

    def _over_time(self, lines_bnld: Tensor) -> Tensor:
        """What temporal attention adds to the time line of each position: (b, n, l, d) -> same."""
        rows_rld = self.temporal_norm(rearrange(lines_bnld, "b n l d -> (b n) l d"))
        y_rld = self.temporal_linear(self.temporal_attention(rows_rld))
        y_rld = drop_rows(y_rld, self.drop_path, training=self.training)
        return rearrange(y_rld, "(b n) l d -> b n l d", n=lines_bnld.shape[1])

    def _over_space(self, z_btnd: Tensor, z_s: Tensor) -> tuple[Tensor, Tensor]:
        """What spatial attention adds: to patches (b, t, n, d), to frames' tokens (b, t, k, d)."""
        y_rld = self.spatial_attention(self._frames(z_btnd, z_s))
        y_rld = drop_rows(y_rld, self.drop_path, training=self.training)
        y_btld = rearrange(y_rld, "(b t) l d -> b t l d", t=z_btnd.shape[1])
        y_tokens, y_patches = torch.split(y_btld, [z_s.shape[2], z_btnd.shape[2]], dim=2)
        return y_patches, y_tokens

    def _frames(self, z_btnd: Tensor, z_s: Tensor) -> Tensor:
        """The rows of spatial attention, normalised: (b t, k + n, d), z_s (b, s, k, d) first."""
        b, t, _, d = z_btnd.shape
        x_btld = torch.cat([z_s.expand(b, t, z_s.shape[2], d), z_btnd], dim=2)
        x_rld: Tensor = self.spatial_norm(rearrange(x_btld, "b t l d -> (b t) l d"))
        return x_rld

    def _keep(self, z_btnd: Tensor) -> Tensor:
        """Stochastic depth of the MLP: (b,), one draw for all tokens of a clip."""
        clips = torch.ones(z_btnd.shape[0], dtype=z_btnd.dtype, device=z_btnd.device)
        return drop_rows(clips, self.drop_path, training=self.training)

    def _mlp(self, x: Tensor, keep_b: Tensor) -> Tensor:
        """x: (b, ..., d), with its residual. keep_b: (b,) of `_keep`."""
        y: Tensor = self.mlp(self.mlp_norm(x))
        if self.training and self.drop_path:
            y = y * keep_b.view(-1, *([1] * (x.ndim - 1)))
        return x + y


class DividedBlock(DividedLayers):
    """Temporal attention, then spatial attention, then MLP; pre-norm, each with a residual.

    A temporal token attends only with its own position, a spatial token only with its own frame;
    the two never meet.

    average: which tokens leave the block as their mean over the clip ("averaged" tokens: mean
    after attention and before the MLP, like the release; "neither" is the paper).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_hidden: int,
        drop_path: float,
        norm_eps: float,
        average: Literal["neither", "temporal", "both"],
        activation: Activation = "gelu",
        rotation: Rotation | None = None,
    ) -> None:
        super().__init__(
            width,
            heads,
            mlp_hidden=mlp_hidden,
            drop_path=drop_path,
            norm_eps=norm_eps,
            activation=activation,
            rotation=rotation,
        )
        self.average = average

    def forward(self, z_btnd: Tensor, z_s: Tensor, z_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(b, t, n, d), (b, s, k, d), (b, p, d) -> the same; s and p become 1 where averaged."""
        z_btnd, z_t = self._attend_over_time(z_btnd, z_t)
        z_btnd, z_s = self._attend_over_space(z_btnd, z_s)
        keep_b = self._keep(z_btnd)
        return self._mlp(z_btnd, keep_b), self._mlp(z_s, keep_b), self._mlp(z_t, keep_b)

    def spatial_attention_map(self, z_btnd: Tensor, z_s: Tensor, z_t: Tensor) -> Tensor:
        """Attention of the spatial tokens in this block: (b, t, h, k + n), own token first.

        The arguments are what `forward` gets. Each (b, t, h) sums to 1 over its last axis.
        """
        z_btnd, _ = self._attend_over_time(z_btnd, z_t)
        weights_rhl = self.spatial_attention.first_token_weights(self._frames(z_btnd, z_s))
        return rearrange(weights_rhl, "(b t) h l -> b t h l", t=z_btnd.shape[1])

    def _attend_over_time(self, z_btnd: Tensor, z_t: Tensor) -> tuple[Tensor, Tensor]:
        b, t, n, d = z_btnd.shape
        token_bn1d = z_t.expand(b, n, d).unsqueeze(2)
        y_bnld = self._over_time(
            torch.cat([rearrange(z_btnd, "b t n d -> b n t d"), token_bn1d], dim=2)
        )
        y_patches, y_token = torch.split(y_bnld, [t, 1], dim=2)
        z_btnd = z_btnd + rearrange(y_patches, "b n t d -> b t n d")
        z_t = z_t + y_token.squeeze(2)
        return z_btnd, z_t if self.average == "neither" else z_t.mean(dim=1, keepdim=True)

    def _attend_over_space(self, z_btnd: Tensor, z_s: Tensor) -> tuple[Tensor, Tensor]:
        y_patches, y_token = self._over_space(z_btnd, z_s)
        z_s = z_s + y_token
        z_s = z_s.mean(dim=1, keepdim=True) if self.average == "both" else z_s
        return z_btnd + y_patches, z_s
