"""Experiment trackers: sends a run's curves, scores and samples to TensorBoard, W&B and others."""
