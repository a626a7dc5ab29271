"""Narrower networks from trained ones, and the way from a file back to the network as trained."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parfocal[train]")

from models.errors import ModelError  # noqa: E402
from models.training.segment.checkpoint import load_checkpoint, load_net  # noqa: E402
from models.training.segment.lean import LeanNet, as_trained  # noqa: E402
from models.training.segment.net import HEADS, SegmentNet  # noqa: E402
from models.training.segment.prune import prune, write_pruned  # noqa: E402

WIDTHS = (8, 16, 24, 32)


def trained() -> SegmentNet:
    """A network whose norms let something else through in each channel."""
    torch.manual_seed(5)
    net = SegmentNet(WIDTHS).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


def answer(net: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        said: torch.Tensor = net(torch.randn(1, 2, 48, 64, generator=torch.manual_seed(1)))
    return said


def test_keeping_all_changes_nothing() -> None:
    net = trained()
    torch.testing.assert_close(answer(prune(net, WIDTHS)), answer(net))


@pytest.mark.parametrize(
    "narrow", [(6, 16, 24, 32), (8, 12, 24, 32), (8, 16, 15, 32), (8, 16, 24, 9)]
)
def test_channels_that_nothing_comes_through_go_first(narrow: tuple[int, ...]) -> None:
    net = trained()
    level = next(k for k, (new, old) in enumerate(zip(narrow, WIDTHS, strict=True)) if new < old)
    gone = list(range(1, WIDTHS[level] - narrow[level] + 1))
    blocks = [net.down[level], *([net.up[level]] if level < 3 else [])]
    with torch.no_grad():
        for block in blocks:
            for norm in (block.first_norm, block.second_norm):
                norm.weight[gone] = norm.bias[gone] = 0.0
        if level < 3:  # nor what comes up beside what is handed on
            net.lift[level].weight[gone] = net.lift[level].bias[gone] = 0.0
    small = prune(net, narrow)
    assert small.widths == narrow
    torch.testing.assert_close(answer(small), answer(net))


def test_widths_that_do_not_fit_are_refused() -> None:
    for wrong in ((8, 16, 24, 33), (8, 16, 24), (0, 16, 24, 32)):
        with pytest.raises(ModelError, match="need four of 1 to 8, 16, 24, 32"):
            prune(trained(), wrong)


def test_a_pruned_training_is_about_to_begin(tmp_path: Path) -> None:
    net = trained()
    state = {"average": net.state_dict(), "net": net.state_dict(), "step": 7, "spent_s": 60.0}
    torch.save({**state, "history": [[1.0, 2.0, 3.0]], "optimiser": {}}, tmp_path / "wide.pt")
    path = write_pruned(tmp_path / "wide.pt", (8, 8, 16, 32), tmp_path / "out")
    assert load_net(path).widths == (8, 8, 16, 32)
    begun = load_checkpoint(path)
    assert (begun["step"], begun["spent_s"], begun["history"]) == (7, 0.0, [])


def test_the_way_back_from_the_layout_for_export() -> None:
    net = trained()
    back = as_trained(LeanNet(net, len(HEADS)))
    torch.testing.assert_close(answer(back), answer(net), rtol=1e-4, atol=1e-5)
    few = answer(as_trained(LeanNet(net, 2)))
    torch.testing.assert_close(few[:, :2], answer(net)[:, :2], rtol=1e-4, atol=1e-5)
    assert not few[:, 2:].any()
