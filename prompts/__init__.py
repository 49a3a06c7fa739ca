"""Sources of prompts, their schema, and the split that keeps evaluation prompts out of training."""
