"""The project's own benchmark: `python -m bench`, see `__main__.py`. Linux only: it pins cores and reads /proc."""
