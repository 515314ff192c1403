"""The nn.Modules: plain, eager, short; the oracle of every faster path."""
