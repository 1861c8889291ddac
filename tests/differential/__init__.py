"""Random trainings against an independent trainer; not part of the quick tests: ``python -m tests.differential``."""
