"""Forward-backward consistency of a pair of flows (docs/method.md §4.3)."""

from __future__ import annotations

from torch import Tensor

from wsvis_core.flow.warp import backward_warp


def occluded(flow_ab: Tensor, flow_ba: Tensor, *, alpha1: float = 0.01, alpha2: float = 0.5) -> Tensor:
    """Pixels of frame a without a counterpart in frame b (§4.3).

    ‖F_ab + W(F_ba;F_ab)‖² > α1·(‖F_ab‖² + ‖W(F_ba;F_ab)‖²) + α2, the constants of DDFlow and ARFlow.
    flow_ab (...,2,H,W) and flow_ba (...,2,H,W), pixels → (...,H,W) bool on frame a's grid.
    """
    returned = backward_warp(flow_ba, flow_ab)
    mismatch = (flow_ab + returned).square().sum(-3)
    motion = flow_ab.square().sum(-3) + returned.square().sum(-3)
    return mismatch > alpha1 * motion + alpha2


def consistent_share(flow_ab: Tensor, flow_ba: Tensor) -> float:
    """Share of frame a's pixels whose flow is forward-backward consistent, 0..1."""
    return float((~occluded(flow_ab, flow_ba)).float().mean())
