"""Predicts what a recipe runs and needs, before anything runs."""
