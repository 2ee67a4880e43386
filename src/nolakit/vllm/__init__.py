"""A store of adapters behind vLLM: nothing here is imported unless vLLM loads the plugin, or a caller asks."""
