"""OpenAI's HTTP interface over `nolakit.serve`, with keys, metrics and a status page."""
