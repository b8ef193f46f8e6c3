"""Exact counts: caches replayed over the rows that trainers asked for, with the policies that decide."""

__all__ = ["bound", "cache_replay", "count", "counterfactual", "delayed", "policy_runs"]
