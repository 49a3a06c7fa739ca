"""The report of runs: `document.py` gathers everything that is shown as one JSON document,
`plots.py` draws its figures, `page.py` writes it as one HTML file."""
