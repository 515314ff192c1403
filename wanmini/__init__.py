"""The embedded worlds: how their data is drawn, how they are trained, and the small weights that ship with the package."""
