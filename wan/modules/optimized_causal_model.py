"""The optimized model under the name that code outside knows; it lives in wan.fast.causal."""

from wan.fast.causal import OptimizedCausalWanModel

__all__ = ["OptimizedCausalWanModel"]
