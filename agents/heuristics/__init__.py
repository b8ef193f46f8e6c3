"""Policies that follow a stated rule: the baselines that every agent is compared with."""
