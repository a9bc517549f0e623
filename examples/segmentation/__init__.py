"""Image-level against patch-level noise for semantic segmentation, at equal (epsilon, delta)."""
