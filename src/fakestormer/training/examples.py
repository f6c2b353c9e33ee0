"""What a few validation pairs should look like to the network, and what it makes of them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from fakestormer.drawing.contact_sheet import RGB, SheetBlock, SheetRow, contact_sheet
from fakestormer.drawing.overlays import display_scale, heat_map
from fakestormer.model.network import VideoNetwork
from fakestormer.training.validation import Example, ValidationSet, judging
from fakestormer.types.network import Outputs

#: Frames of a clip on a sheet; of longer clips the first.
_COLUMNS, _TILE = 8, 112


@torch.inference_mode()
def example_sheets(
    network: VideoNetwork,
    validation: ValidationSet,
    *,
    forward_context: AbstractContextManager[object] | None = None,
) -> dict[str, RGB]:
    """{"1 of 4": uint8 RGB (H, W, 3), ...}: one contact sheet for each example of the set.

    A pseudo-fake, its target D^ and h's D~ over it, both on one scale, its soft labels and g's
    scores; under it the real clip with h and g. The network's mode is put back as it was.
    """
    if not validation.examples:
        return {}
    places = [place for example in validation.examples for place in (example.fake, example.real)]
    frames = validation.frames[places].to(next(network.parameters()).device)
    with judging(network), forward_context or nullcontext():
        outputs = network(frames)
    return {
        f"{number + 1} of {len(validation.examples)}": _sheet(
            example, validation, outputs, 2 * number
        )
        for number, example in enumerate(validation.examples)
    }


def _sheet(example: Example, validation: ValidationSet, outputs: Outputs, first: int) -> RGB:
    """first: place of the pseudo-fake in the outputs; its real clip follows."""
    fake_t3hw, real_t3hw = (
        validation.frames[place].numpy() for place in (example.fake, example.real)
    )
    shown = slice(0, _COLUMNS)
    target = example.derivative.numpy()
    scale = display_scale(target[None])
    logit = outputs.logit.float().sigmoid().tolist()
    blocks = []
    clips = ((first, "pseudo-fake", fake_t3hw), (first + 1, "real", real_t3hw))
    for place, heading, frames in clips:
        rows = [SheetRow(label="frames", pictures_tchw=frames[shown])]
        if place == first:
            over = heat_map(target, frames, scale=scale)
            remark = f"standardised change of\nvulnerability, up to {scale:.1f}"
            rows.append(SheetRow(label="target of h", remark=remark, pictures_tchw=over[shown]))
        if outputs.derivative is not None:
            change = outputs.derivative[place].float().cpu().numpy()
            over = heat_map(change, frames, scale=scale)
            remark = f"from {change[1:].min():.1f} to {change[1:].max():.1f}"
            rows.append(SheetRow(label="h", remark=remark, pictures_tchw=over[shown]))
        if outputs.frame_logits is not None:
            wanted = example.soft_labels if place == first else torch.zeros(len(frames))
            said_t = outputs.frame_logits[place].float().sigmoid().cpu()
            rows.append(SheetRow(label="target of g", numbers_t=wanted[shown].tolist()))
            rows.append(SheetRow(label="g", numbers_t=said_t[shown].tolist()))
        blocks.append(SheetBlock(heading=f"{heading}: f says {logit[place]:.3f} fake", rows=rows))
    columns = [f"frame {t}" for t in range(min(_COLUMNS, len(fake_t3hw)))]
    # OpenCV's letters are ASCII.
    title = example.source.encode("ascii", "replace").decode()
    return contact_sheet(title, columns, blocks, tile=_TILE)
