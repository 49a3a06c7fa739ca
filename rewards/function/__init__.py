"""The verifier `function`: a function of the user's, in processes of its own."""
