"""How fast the models are: cases and their ladders, timing, and the floor of the machine they run on.

A ladder is the same work done by the exact reference, then with one technique more at a time; what is lossy stands last.
No row is timed before its output has been compared. The cases of Wan2.2 are in mgcli.bench.expert; tables and files are mgcli's.
"""
