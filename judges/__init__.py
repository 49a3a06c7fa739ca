"""How a Llama judge says how hard a prompt is. Importing the package or its config loads no
engine."""
