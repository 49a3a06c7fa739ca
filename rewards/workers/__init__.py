"""Processes that call one function each, with a time limit and bounded output."""
