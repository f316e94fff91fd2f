"""Coverage-guided fuzzing of whatever reads what others wrote; each target is a module here that has ``run``, ``seeds`` and ``mutated``."""
