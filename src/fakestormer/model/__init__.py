"""Tensors in, Outputs out: knows no files but weights, and no video."""
