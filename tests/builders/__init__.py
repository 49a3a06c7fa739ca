"""What several test files build: runs, recipes, folders and scripted parts."""
