"""One function per section of the report: from a run's folder to a part of the document."""
