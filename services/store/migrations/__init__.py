"""How the schema came to be, step by step: run by ``services.store.migrate``, by nothing else."""
