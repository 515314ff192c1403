"""Matrix-Game: modes and actions, conditions, rollout."""
