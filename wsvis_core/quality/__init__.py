"""How far a track can be trusted where there is no ground truth: parts, a calibrated estimate, and its reliability."""
