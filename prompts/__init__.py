"""Where prompts come from, their one schema, and the split that keeps evaluation prompts out of
training."""
