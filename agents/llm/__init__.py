"""Policies that ask a language model: the prompt, the answer's schema, and one file a provider of models."""
