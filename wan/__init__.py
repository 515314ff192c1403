"""Shared model code of the Wan family: the architectures, their files, their solvers. Imports nothing of wan22, wanmini or mgcli."""
