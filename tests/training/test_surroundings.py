"""f in closed form: against scikit-learn, against the head that carries it, and on drawn faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fakestormer.data.manifest import read_manifest
from fakestormer.errors import InputError
from fakestormer.model.build import build
from fakestormer.model.heads import SurroundingsHead, face_regions
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.tools.commands import fit
from fakestormer.training.loop import train
from fakestormer.training.surroundings import (
    _left_out,
    discriminant,
    fit_surroundings,
    with_surroundings,
)


def test_without_a_ridge_it_is_fishers_discriminant() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))
    real = rng.normal(size=(300, 5)) @ mixing
    fake = rng.normal(size=(300, 5)) @ mixing + rng.normal(size=5)
    ours = discriminant(real, fake, 0.0, limit=np.inf)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(
        np.concatenate([real, fake]), np.repeat([0, 1], 300)
    )
    both = np.concatenate([real, fake])
    np.testing.assert_allclose(ours.logits(both), theirs.decision_function(both), rtol=1e-3)


def test_a_ridge_draws_the_weights_in() -> None:
    rng = np.random.default_rng(1)
    real, fake = rng.normal(size=(2, 50, 40))
    sizes = [np.linalg.norm(discriminant(real, fake, r).weights) for r in (0.0, 0.1, 1.0)]
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_values_far_out_count_as_the_limit() -> None:
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(200, 6)), rng.normal(1.0, size=(200, 6))
    fitted = discriminant(real, fake, 0.1, limit=2.0)
    far, edge = np.zeros((2, 1, 6))
    far[0, 0], edge[0, 0] = 1e6, fitted.mean[0] + 2.0 / fitted.scale[0]
    np.testing.assert_allclose(fitted.logits(far), fitted.logits(edge))
    real[0, 0] = 1e6  # one frame far out is no reason for other weights
    spoilt = discriminant(real, fake, 0.1, limit=2.0)
    assert np.abs(spoilt.weights).max() < 2 * np.abs(fitted.weights).max()


def test_real_frames_that_count_more_draw_their_centre_near() -> None:
    rng = np.random.default_rng(4)
    real, fake = rng.normal(size=(2, 100, 3))
    alike = discriminant(real, fake, 0.1, real_weights_n=np.full(100, 7.0))
    np.testing.assert_allclose(alike.weights, discriminant(real, fake, 0.1).weights)
    weights = np.where(np.arange(100) < 20, 3.0, 1.0)
    near = discriminant(real, fake, 0.1, real_weights_n=weights)
    standardised = ((real - near.mean) * near.scale).clip(-near.limit, near.limit)
    expected = np.concatenate([standardised, np.repeat(standardised[:20], 2, axis=0)]).mean(0)
    np.testing.assert_allclose(near.centres[0], expected)


def test_people_who_look_most_like_fakes_count_four_times() -> None:
    rng = np.random.default_rng(5)
    groups = [f"person {n // 10}" for n in range(200)]
    real, fake = rng.normal(size=(2, 200, 4))
    fake[:, 0] += 4.0
    real[:20, 0] += 3.0  # two people of twenty
    others = _left_out(real, fake, groups, 0.1)
    np.testing.assert_array_equal(others.weights_n, [4.0] * 20 + [1.0] * 180)
    assert 0.8 < others.auc < 1


def test_regions_cover_the_crop_one_around_the_other() -> None:
    regions = face_regions(12)
    torch.testing.assert_close(regions.sum(dim=(1, 2)), torch.ones(4))
    # Every patch is in one region.
    assert bool(((regions > 0).sum(dim=0) == 1).all())
    # From the middle of the face outwards, along each axis; a face is higher than wide.
    along_y, along_x = regions[:, 6:, 6].argmax(0), regions[:, 6, 6:].argmax(0)
    assert along_y.tolist() == [0, 0, 1, 2, 2, 3]
    assert along_x.tolist() == [0, 0, 1, 2, 3, 3]
    torch.testing.assert_close(regions, regions.flip(1))
    torch.testing.assert_close(regions, regions.flip(2))


def test_a_region_without_a_patch_is_zero() -> None:
    sums = face_regions(4).sum(dim=(1, 2))
    torch.testing.assert_close(sums, torch.tensor([1.0, 0.0, 1.0, 1.0]))


def test_the_head_sees_each_channel_in_each_region() -> None:
    head = SurroundingsHead(2, 6)
    regions = face_regions(6)
    seen = torch.zeros(1, 1, 2, 6, 6)
    seen[0, 0, 0][regions[0] > 0] = 3.0
    seen[0, 0, 1][regions[2] > 0] = 5.0
    means = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    torch.testing.assert_close(head.means(seen)[0, 0], means.flatten())


def test_axes_that_are_not_kept_count_as_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    real, fake = rng.normal(size=(2, 300, 6)) @ rng.normal(size=(6, 6))
    whole = discriminant(real, fake, 0.1)
    assert whole.elsewhere == 0
    monkeypatch.setattr(SurroundingsHead, "AXES", 2)
    short = discriminant(real, fake, 0.1)
    np.testing.assert_allclose(short.weights, whole.weights)
    np.testing.assert_allclose(short.axes, whole.axes[:2])
    np.testing.assert_allclose(short.along + short.elsewhere, whole.along[:2])
    assert short.elsewhere == pytest.approx(whole.along[2:].mean())
    assert whole.along[0] == whole.along.min(), "the largest variance has the least precision"


@pytest.mark.parametrize("axes", [8, 3])
def test_the_distance_is_mahalanobis_to_the_nearer_class(
    axes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SurroundingsHead, "AXES", axes)
    rng = np.random.default_rng(2)
    real, fake = rng.normal(size=(2, 80, 8)) * range(1, 9) + [[[0.0]], [[5.0]]]
    fitted = discriminant(real, fake, 0.1, limit=np.inf)
    covariances = [np.cov(((x - fitted.mean) * fitted.scale).T, bias=True) for x in (real, fake)]
    variances, directions = np.linalg.eigh(sum(covariances) / 2)
    inverse = 1 / (variances + 0.1)
    inverse[:-axes] = inverse[:-axes].mean() if axes < 8 else 0
    precision = directions * inverse @ directions.T
    head = SurroundingsHead(2, 6)
    head.mean.copy_(torch.from_numpy(fitted.mean))
    head.scale.copy_(torch.from_numpy(fitted.scale))
    head.centres.copy_(torch.from_numpy(fitted.centres))
    head.axes.copy_(torch.from_numpy(fitted.axes))
    head.along.copy_(torch.from_numpy(fitted.along))
    head.elsewhere.fill_(fitted.elsewhere)
    seen = torch.from_numpy(rng.normal(size=(3, 2, 2, 6, 6)) * 4 + 2).float()
    means = head.means(seen).double().numpy()
    for clip in range(3):
        expected = np.mean(
            [
                min(mahalanobis(x, centre, precision) ** 2 for centre in fitted.centres)
                for x in (means[clip] - fitted.mean) * fitted.scale
            ]
        )
        assert float(head.distance(seen)[clip]) == pytest.approx(expected, rel=1e-4)
        assert fitted.distances(means[clip]).mean() == pytest.approx(expected)
    # The centre of a class is where nothing is unusual; unfitted heads find nothing unusual.
    assert fitted.distances(fake.mean(0, keepdims=True))[0] == pytest.approx(0, abs=1e-12)
    assert float(SurroundingsHead(2, 6).distance(seen).abs().max()) == 0


@pytest.fixture(scope="module")
def small(recipe: Recipe) -> Recipe:
    return override(
        recipe,
        [
            "model.stem=efficientnet-lite0", "model.patch_size=16", "model.image_size=64",
            "model.frozen_stages=2",
        ],
    )  # fmt: skip


def test_fitting_sets_f_alone_and_repeats(
    tmp_path: Path, make_store: Callable[..., Path], small: Recipe
) -> None:
    store = make_store(tmp_path / "store", train=14, validation=1)
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        trained = build(small.model)
        network, recipe = with_surroundings(trained, small)
        assert recipe.model.classifier == "surroundings"
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for name, tensor in trained.state_dict().items():
            assert name.startswith("f.") or torch.equal(before[name], tensor)
        done: list[int] = []
        fitted = fit_surroundings(
            network, recipe, store, read_manifest(store),
            pairs=100, ridge=0.1, seed=4, progress=done.append,
        )  # fmt: skip
        after = network.state_dict()
        changed = {name for name, tensor in after.items() if (tensor != before[name]).any()}
        assert changed == {
            "f.mean", "f.scale", "f.centres", "f.axes", "f.along", "f.elsewhere",
            "f.linear.weight", "f.linear.bias",
        }  # fmt: skip
        states.append({name: after[name].clone() for name in changed})
        assert done[-1] == fitted.pairs == 100
        assert 1 < fitted.tracks <= 14
        assert 0.0 <= fitted.left_out_auc <= 1.0
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_other_networks_and_few_people_are_refused(
    tmp_path: Path, make_store: Callable[..., Path], small: Recipe, recipe: Recipe
) -> None:
    store = make_store(tmp_path / "store", train=3, validation=1)
    rows = read_manifest(store)
    with pytest.raises(InputError, match="no f that could be fitted"):
        with_surroundings(build(recipe.model), recipe)
    network, changed = with_surroundings(build(small.model), small)
    with pytest.raises(InputError, match="too few training videos"):
        fit_surroundings(network, changed, store, rows, pairs=100, ridge=0.1, seed=0)
    with pytest.raises(InputError, match="fitted, not trained"):
        train(changed, store, tmp_path / "run")


def test_a_fitted_model_is_fitted_again(small: Recipe) -> None:
    torch.manual_seed(0)
    once, changed = with_surroundings(build(small.model), small)
    twice, again = with_surroundings(once, changed)
    assert again == changed
    assert twice.reference is not None
    frames = torch.randint(0, 256, (1, small.model.frames, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        one, two = (network.eval().features(frames) for network in (once, twice))
    assert one.reference is not None
    assert two.reference is not None
    assert torch.equal(one.patches, two.patches)
    assert torch.equal(one.reference, two.reference)


def test_the_classifier_needs_patches_of_16() -> None:
    with pytest.raises(ValueError, match="patch_size to 16"):
        ModelConfig(classifier="surroundings", patch_size=8)


def test_a_fit_takes_settings_of_synthesis_alone(tmp_path: Path) -> None:
    settings = ["synthesis.elastic_sigma=6", "model.width=3"]
    with pytest.raises(InputError, match=r"model.width=3: a fit takes settings of synthesis"):
        fit(None, tmp_path / "store", tmp_path / "out", assignments=settings)
    assert list(tmp_path.iterdir()) == []
