"""`nolakit store`: ten thousand adapters in one file, one subcommand a file."""
