"""Constraints on an answer that code can verify, in the manner of IFEval and IFBench."""
