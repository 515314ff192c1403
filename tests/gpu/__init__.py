"""The gate: what ships, on a GPU, through the doors that the commands use. `make test-gpu`, or `python -m tests.gpu`.

A leg is a function that proves one sentence, its own. Each runs in a process of its own, several at a time, so that
one that takes its CUDA context down takes nothing else with it. `--rehearse` is the same on a CPU at toy sizes, which
is how the gate itself is debugged.
"""
