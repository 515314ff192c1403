"""What a case has to compute at least: its matrix products, attentions and convolutions, counted from a config and sizes.

Pure functions. What a faster path saves for good is not counted: keys of an image or a prompt are computed once and not
every step, a doubled frame is convolved at its own size. Left out is what adds up to a percent: norms, embeddings, the
attentions over a few actions.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from wan.config import ActionConfig, CausalConfig, VAEConfig, WanConfig


@dataclass(frozen=True)
class Product:
    """(rows, inner) x (inner, columns)."""

    rows: int
    inner: int
    columns: int

    def __str__(self) -> str:
        return f"product {self.rows}x{self.inner}x{self.columns}"

    @property
    def flops(self) -> float:
        return 2.0 * self.rows * self.inner * self.columns


@dataclass(frozen=True)
class Attention:
    batch: int
    heads: int
    queries: int
    keys: int
    width: int  # of a head

    def __str__(self) -> str:
        return f"attention {self.batch * self.heads} heads, {self.queries}x{self.keys}x{self.width}"

    @property
    def flops(self) -> float:
        return 4.0 * self.batch * self.heads * self.queries * self.keys * self.width


@dataclass(frozen=True)
class Convolution:
    """Of images, `side` x `side`; one over time too is counted with the frames it sees side by side as channels."""

    images: int
    height: int
    width: int
    in_dim: int
    out_dim: int
    side: int = 3

    def __str__(self) -> str:
        return f"convolution {self.in_dim}->{self.out_dim}, {self.images}x{self.height}x{self.width}"

    @property
    def flops(self) -> float:
        return 2.0 * self.images * self.height * self.width * self.in_dim * self.out_dim * self.side**2


Operation = Product | Attention | Convolution
Work = Counter[Operation]  # how often each is done


def flops(work: Work) -> float:
    return sum(operation.flops * times for operation, times in work.items())


def largest(works: Iterable[Work]) -> list[Operation]:
    """The one with the most arithmetic of each kind."""
    kinds: dict[type, Operation] = {}
    for operation in itertools.chain(*works):
        kinds[type(operation)] = max(kinds.get(type(operation), operation), operation, key=lambda o: o.flops)
    return list(kinds.values())


def repeated(work: Work, times: int) -> Work:
    return Counter({operation: times * count for operation, count in work.items()})


def transformer_layer(tokens: int, dim: int, ffn_dim: int, heads: int, keys: int, context: int) -> Work:
    """Self attention to `keys`, cross attention to `context` keys that are there already, feed-forward."""
    width = dim // heads
    square = Product(tokens, dim, dim)
    return Counter([
        Product(tokens, dim, 3 * dim), Attention(1, heads, tokens, keys, width), square,
        square, Attention(1, heads, tokens, context, width), square,
        Product(tokens, dim, ffn_dim), Product(tokens, ffn_dim, dim),
    ])  # fmt: skip


def action_layer(tokens: int, action: ActionConfig) -> Work:
    """Its products for every token; what depends on the actions alone is a handful of rows."""
    work: Work = Counter()
    dim, mouse, keyboard = action.img_hidden_size, action.mouse_hidden_dim, action.keyboard_hidden_dim
    if action.enable_mouse:
        work.update([Product(tokens, dim, mouse), Product(tokens, mouse, mouse)])
        work.update([Product(tokens, mouse, 3 * mouse), Product(tokens, mouse, dim)])
    if action.enable_keyboard:
        work.update([Product(tokens, dim, keyboard), Product(tokens, keyboard, dim)])
    return work


def causal_forward(config: CausalConfig, tokens: int, keys: int, context: int) -> Work:
    """A block of `tokens` that sees `keys` keys, its own among them, and `context` image tokens."""
    layer = transformer_layer(tokens, config.dim, config.ffn_dim, config.num_heads, keys, context)
    work = repeated(layer, config.num_layers)
    if config.action_config:
        work += repeated(action_layer(tokens, config.action_config), len(config.action_config.blocks))
    return work


def wan_forward(config: WanConfig, tokens: int, text: int) -> Work:
    """One forward of an expert with a prompt of `text` keys; padding, as many equal keys, is one of them."""
    layer = transformer_layer(tokens, config.dim, config.ffn_dim, config.num_heads, tokens, text)
    return repeated(layer, config.num_layers)


def vae_decode(config: VAEConfig, latent_frames: int, height: int, width: int, first: bool = False) -> Work:
    """Some latent frames of a clip in one go; of the `first` ones the very first is one frame and not four."""
    dims = [config.dim * m for m in (config.dim_mult[-1], *reversed(config.dim_mult))]
    doubles_time = config.temperal_downsample[::-1]
    at = Frames(latent_frames, height, width, first)
    work = at.causal(config.z_dim, dims[0]) + at.middle(dims[0])
    for i, (in_dim, out_dim) in enumerate(itertools.pairwise(dims)):
        in_dim = in_dim // 2 if i else in_dim  # every upsampling has halved the channels
        work += at.residual(in_dim, out_dim) + repeated(at.residual(out_dim, out_dim), config.num_res_blocks)
        if i < len(config.dim_mult) - 1:
            doubling, at = at.doubled(out_dim, doubles_time[i])
            work += doubling
    return work + at.causal(dims[-1], 3)


def vae_decode_clip(config: VAEConfig, latent_frames: int, height: int, width: int) -> Work:
    """A whole clip, one latent frame at a time."""
    later = repeated(vae_decode(config, 1, height, width), latent_frames - 1)
    return vae_decode(config, 1, height, width, first=True) + later


@dataclass(frozen=True)
class Frames:
    """Frames at one resolution of the decoder, and what its layers cost there."""

    count: int
    height: int
    width: int
    first: bool

    @property
    def pixels(self) -> int:
        return self.count * self.height * self.width

    def causal(self, in_dim: int, out_dim: int) -> Work:
        return Counter([Convolution(self.count, self.height, self.width, 3 * in_dim, out_dim)])

    def residual(self, in_dim: int, out_dim: int) -> Work:
        shortcut = [Product(self.pixels, in_dim, out_dim)] if in_dim != out_dim else []
        return self.causal(in_dim, out_dim) + self.causal(out_dim, out_dim) + Counter(shortcut)

    def middle(self, dim: int) -> Work:
        pixels = self.height * self.width
        attention: list[Operation] = [Product(self.pixels, dim, 3 * dim), Attention(self.count, 1, pixels, pixels, dim), Product(self.pixels, dim, dim)]  # fmt: skip
        return repeated(self.residual(dim, dim), 2) + Counter(attention)

    def doubled(self, dim: int, time: bool) -> tuple[Work, Frames]:
        """Twice as high and wide, and as long if `time`; of three rows in the doubled frame two are the same."""
        work, count = Counter[Operation](), self.count
        if time:
            grown = self.count - self.first  # the first frame of a clip stays one
            work.update([Product(grown * self.height * self.width, 3 * dim, 2 * dim)] if grown else [])
            count = self.first + 2 * grown
        work.update([Convolution(count, self.height, self.width, dim, 4 * (dim // 2), side=2)])
        return work, Frames(count, 2 * self.height, 2 * self.width, self.first)


def latent_tokens(patch: tuple[int, int, int], frames: int, height: int, width: int) -> int:
    return math.prod(size // step for size, step in zip((frames, height, width), patch, strict=True))
