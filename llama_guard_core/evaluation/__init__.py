"""How good a guard is on data whose answers are known."""
