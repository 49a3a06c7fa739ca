"""What a recipe would run and need, worked out before anything runs."""
