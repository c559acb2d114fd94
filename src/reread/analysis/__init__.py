"""From scores to what they mean: the curve of accuracy against compute, the multiplier, the bill."""
