"""How a Llama judge estimates the difficulty of a prompt. Importing the package or its config loads
no engine."""
