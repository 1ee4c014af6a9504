"""Routebook: a self-hosted LLM router that speaks the OpenRouter API and keeps an honest book."""

__version__ = "0.1.0"
