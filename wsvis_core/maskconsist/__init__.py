"""MaskConsist (docs/method.md §3): pure functions from predictions, stage-1 labels and flow to training targets."""

from wsvis_core.maskconsist.diagnostics import TransferDiagnostics
from wsvis_core.maskconsist.self_training import self_training_labels
from wsvis_core.maskconsist.transfer import TransferSettings, transfer_labels

__all__ = ["TransferDiagnostics", "TransferSettings", "self_training_labels", "transfer_labels"]
