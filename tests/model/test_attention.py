"""Who sees whom inside one block, what is dropped, and where it starts."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from fakestormer.model.attention import Attention, DividedBlock, attend, drop_rows

B, T, N, D = 2, 3, 4, 8


def stirred_block(average: Literal["neither", "temporal", "both"] = "neither") -> DividedBlock:
    """A block in double precision none of whose layers is at a special value."""
    torch.manual_seed(0)
    block = DividedBlock(D, 2, mlp_hidden=16, drop_path=0.0, norm_eps=1e-6, average=average)
    with torch.no_grad():
        for p in block.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return block.double()


def tokens() -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    z = torch.randn(B, T, N, D, generator=g, dtype=torch.float64, requires_grad=True)
    z_s = torch.randn(B, T, 1, D, generator=g, dtype=torch.float64, requires_grad=True)
    z_t = torch.randn(B, N, D, generator=g, dtype=torch.float64, requires_grad=True)
    return z, z_s, z_t


def test_a_temporal_token_sees_its_own_position_only() -> None:
    z, z_s, z_t = tokens()
    _, _, out = stirred_block()(z, z_s, z_t)
    from_z, from_s, from_t = torch.autograd.grad(out[0, 2].sum(), (z, z_s, z_t), allow_unused=True)
    assert from_s is None
    seen_z = from_z.abs().sum(-1) > 0
    expected = torch.zeros(B, T, N, dtype=torch.bool)
    expected[0, :, 2] = True  # all frames of position 2 of clip 0, and nothing else
    assert torch.equal(seen_z, expected)
    seen_t = from_t.abs().sum(-1) > 0
    assert seen_t.nonzero().tolist() == [[0, 2]]


def test_a_spatial_token_sees_its_own_frame_only() -> None:
    block = stirred_block()
    nn.init.zeros_(block.temporal_linear.weight)  # patches then bring nothing from other frames
    z, z_s, z_t = tokens()
    _, out, _ = block(z, z_s, z_t)
    from_z, from_s, from_t = torch.autograd.grad(out[1, 0].sum(), (z, z_s, z_t), allow_unused=True)
    seen_z = from_z.abs().sum(-1) > 0
    expected = torch.zeros(B, T, N, dtype=torch.bool)
    expected[1, 0] = True
    assert torch.equal(seen_z, expected)
    assert (from_s.abs().sum(-1) > 0).nonzero().tolist() == [[1, 0, 0]]
    assert not from_t.any()  # temporal tokens reach nothing but patches, and here not even those


def test_a_spatial_token_never_sees_another_spatial_token() -> None:
    z, z_s, z_t = tokens()
    _, out, _ = stirred_block()(z, z_s, z_t)
    (from_s,) = torch.autograd.grad(out[0, 1].sum(), (z_s,))
    assert (from_s.abs().sum(-1) > 0).nonzero().tolist() == [[0, 1, 0]]


def test_a_register_sees_its_own_frame_and_is_seen_there() -> None:
    block = stirred_block()
    nn.init.zeros_(block.temporal_linear.weight)
    z, z_s, z_t = tokens()
    z_s = torch.cat([z_s, 2 * z_s], dim=2).detach().requires_grad_()
    out_z, out_s, _ = block(z, z_s, z_t)
    assert out_s.shape == (B, T, 2, D)
    for seen in (out_s[1, 0, 1], out_s[1, 0, 0], out_z[1, 0, 3]):
        (from_s,) = torch.autograd.grad(seen.sum(), (z_s,), retain_graph=True)
        assert (from_s.abs().sum(-1) > 0).nonzero().tolist() == [[1, 0, 0], [1, 0, 1]]


def test_patches_mix_along_time_first_and_then_along_space() -> None:
    block = stirred_block()
    z, z_s, z_t = tokens()
    after_time, _ = block._attend_over_time(z, z_t)
    (from_z,) = torch.autograd.grad(after_time[0, 1, 3].sum(), (z,))
    expected = torch.zeros(B, T, N, dtype=torch.bool)
    expected[0, :, 3] = True
    assert torch.equal(from_z.abs().sum(-1) > 0, expected)
    after_space, _ = block._attend_over_space(z, z_s)
    (from_z,) = torch.autograd.grad(after_space[0, 1, 3].sum(), (z,))
    expected = torch.zeros(B, T, N, dtype=torch.bool)
    expected[0, 1] = True
    assert torch.equal(from_z.abs().sum(-1) > 0, expected)


def test_averaged_tokens_leave_as_the_mean_of_their_attention() -> None:
    z, _, _ = tokens()
    one_s = torch.randn(B, 1, 1, D, dtype=torch.float64)
    one_t = torch.randn(B, 1, D, dtype=torch.float64)
    block = stirred_block("both")
    z_out, s_out, t_out = block(z, one_s, one_t)
    assert s_out.shape == (B, 1, 1, D)
    assert t_out.shape == (B, 1, D)

    apart = stirred_block("neither")
    z_apart, t_before = apart._attend_over_time(z, one_t)
    z_apart, s_before = apart._attend_over_space(z_apart, one_s)
    ones = torch.ones(B, dtype=torch.float64)
    torch.testing.assert_close(s_out, apart._mlp(s_before.mean(1, keepdim=True), ones))
    torch.testing.assert_close(t_out, apart._mlp(t_before.mean(1, keepdim=True), ones))
    torch.testing.assert_close(z_out, apart._mlp(z_apart, ones))


def test_attention_by_hand() -> None:
    """One head, identity projections, tokens 0 and e: weights softmax(0, c / sqrt(2))."""
    attention = Attention(2, 1).double()
    with torch.no_grad():
        attention.qkv.weight.copy_(torch.eye(2).repeat(3, 1))
        attention.proj.weight.copy_(torch.eye(2))
        attention.qkv.bias.zero_()
        attention.proj.bias.zero_()
    x = torch.tensor([[[2.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    logit = 4 / 2**0.5
    high = torch.tensor(logit).exp() / (torch.tensor(logit).exp() + 1)
    weights = attention.first_token_weights(x)
    assert weights.shape == (1, 1, 2)
    assert weights[0, 0].tolist() == pytest.approx([float(high), 1 - float(high)], abs=1e-6)
    out = attention(x)
    assert out[0, 0].tolist() == pytest.approx([2 * float(high), 0.0], abs=1e-6)
    assert out[0, 1].tolist() == pytest.approx([1.0, 0.0])  # a zero query weighs all alike


def test_drop_rows_drops_whole_rows_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    y = torch.ones(4000, 3, 2)
    dropped = drop_rows(y, 0.25, training=True)
    per_row = dropped.flatten(1)
    assert (per_row == per_row[:, :1]).all()
    assert per_row[:, 0].unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (per_row[:, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert drop_rows(y, 0.25, training=False) is y
    assert drop_rows(y, 0.0, training=True) is y


def test_stochastic_depth_drops_lines_frames_and_clips() -> None:
    torch.manual_seed(0)
    b, t, n = 40, 3, 5
    block = DividedBlock(D, 2, mlp_hidden=16, drop_path=0.5, norm_eps=1e-6, average="neither")
    nn.init.normal_(block.temporal_linear.weight)
    block.train()
    z, z_s, z_t = torch.randn(b, t, n, D), torch.randn(b, t, 1, D), torch.randn(b, n, D)
    after, token = block._attend_over_time(z, z_t)
    still = (after - z).abs().amax(-1) == 0  # b t n
    assert torch.equal(still, still[:, :1].expand_as(still))  # a position's whole line or nothing
    assert torch.equal(still[:, 0], (token - z_t).abs().amax(-1) == 0)
    assert 0.3 < still.float().mean() < 0.7
    assert (still[:, 0] != still[:, 0, :1]).any()  # positions of one clip are drawn apart

    after, token = block._attend_over_space(z, z_s)
    still = (after - z).abs().amax(-1) == 0
    assert torch.equal(still, still[:, :, :1].expand_as(still))  # a whole frame or nothing
    assert torch.equal(still[:, :, 0], (token - z_s)[:, :, 0].abs().amax(-1) == 0)
    assert (still[:, :, 0] != still[:, :1, 0]).any()  # frames of one clip are drawn apart

    for attention in (block.temporal_linear, block.spatial_attention.proj):
        nn.init.zeros_(attention.weight)
        nn.init.zeros_(attention.bias)
    outs = block(z, z_s, z_t)
    still_b = [
        (out - x).flatten(1).abs().amax(1) == 0 for out, x in zip(outs, (z, z_s, z_t), strict=True)
    ]
    assert torch.equal(still_b[0], still_b[1])  # one draw for all tokens of a clip
    assert torch.equal(still_b[0], still_b[2])
    assert 0 < still_b[0].sum() < b


@pytest.mark.parametrize("length", [5, 50])
def test_attention_is_the_same_by_either_way(length: int) -> None:
    """The plain products that bfloat16 training on a CPU uses, against the fused kernel and against
    the formula in double precision; values and gradients."""
    g = torch.Generator().manual_seed(0)
    rows = [torch.randn(6, 2, length, 8, generator=g).bfloat16() for _ in range(3)]
    plain = [x.clone().requires_grad_() for x in rows]
    exact = [x.double().requires_grad_() for x in rows]
    q, k, v = exact
    wanted = torch.softmax(q @ k.transpose(-2, -1) / 8**0.5, dim=-1) @ v
    got = attend(*plain)
    assert got.dtype == torch.bfloat16
    assert got.grad_fn is not None
    assert "ScaledDotProduct" not in type(got.grad_fn).__name__
    torch.testing.assert_close(got.double(), wanted, atol=0.02, rtol=0.02)
    torch.testing.assert_close(attend(*rows).double(), wanted, atol=0.02, rtol=0.02)
    towards = torch.randn(wanted.shape, generator=g, dtype=torch.float64)
    wanted.backward(towards)
    got.backward(towards.bfloat16())
    for ours, true in zip(plain, exact, strict=True):
        assert ours.grad is not None
        assert true.grad is not None
        torch.testing.assert_close(ours.grad.double(), true.grad, atol=0.06, rtol=0.06)
