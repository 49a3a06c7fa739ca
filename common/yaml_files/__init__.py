"""Settings that people write as YAML: read with the line of every value, wrong ones reported."""
