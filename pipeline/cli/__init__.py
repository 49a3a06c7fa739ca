"""The command line: commands, tables and JSON documents."""
