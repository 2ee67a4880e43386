"""Ten thousand adapters in one SQLite file."""
