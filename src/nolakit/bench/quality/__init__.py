"""Quality per trained number and stored byte: tasks, methods and budgets in registries, and what runs them."""
