"""Prefetching policies: the contract, heuristics, LLM agents, and the check every policy passes."""
