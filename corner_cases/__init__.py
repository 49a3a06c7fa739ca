"""Named corner cases of a chat model: prompts that provoke each, and a detector of each."""
