"""What is applied to a finished model from outside: compile, graphs, offload, quantize, parallel."""
