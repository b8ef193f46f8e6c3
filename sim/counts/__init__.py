"""Exact counts: caches replayed over the rows that trainers asked for, with the policies that decide."""

__all__ = ["cache_replay", "count", "counterfactual", "delayed", "policy_runs"]
