"""CAM: the frame classifier, multi-scale class activation maps, f-CAM."""
