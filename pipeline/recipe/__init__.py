"""Reading a recipe: schema, YAML with line numbers, overrides, validation, user files."""
