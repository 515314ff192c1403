"""How the keys of LoRA files are spelt, by trainers and by programs, and which official tensor each of them means.

In front stands any of a few prefixes, then a layer by its official name or by diffusers', with dots or with underscores,
then what the tensor is: a factor, an alpha, a whole difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wan.files.key_names import DIFFUSERS_EXPERT, renamed

PREFIX = re.compile(r"(base_model\.model|model|module|diffusion_model|transformer|transformer_2|pipe\.dit|dit|unet)\.")
FLAT = re.compile(r"(lora_unet|lora_transformer|lycoris)_+")  # then dots are underscores
LETTERS = ("q", "k", "v", "o", "norm_q", "norm_k")
THEIRS = ("to_q", "to_k", "to_v", "to_out.0", "norm_q", "norm_k")
OUTER = ("patch_embedding", "text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2",
         "time_projection.1", "head.head", "head", "proj_out", "condition_embedder.time_proj",
         "condition_embedder.time_embedder.linear_1", "condition_embedder.time_embedder.linear_2",
         "condition_embedder.text_embedder.linear_1", "condition_embedder.text_embedder.linear_2")  # fmt: skip
INNER = (*(f"{side}_attn.{name}" for side in ("self", "cross") for name in LETTERS),
         *(f"attn{n}.{name}" for n in (1, 2) for name in THEIRS),
         "ffn.0", "ffn.2", "ffn.net.0.proj", "ffn.net.2", "norm2", "norm3", "modulation")  # fmt: skip
DOTTED = {name.replace(".", "_"): name for name in (*INNER, *OUTER)}
# an adapter's name may stand inside, such as PEFT's "default"
FACTOR = re.compile(r"(.+)\.lora(_A|_B|_down|_up|\.down|\.up)(?:\.(?!weight$|bias$)\w+)?(?:\.weight)?")
OTHER = re.compile(r"(.+)\.(alpha|diff|diff_b|diff_m)")
DOWN = ("_A", "_down", ".down")
DORA = re.compile(r"(.+)\.(dora_scale|lora_magnitude_vector)(\..*)?")
STRANGERS = (  # what a key says, and why it is passed over
    (re.compile(r"k_img|v_img|img_emb|norm_k_img|add_k_proj|add_v_proj|image_embedder"), "of an older image model"),
    (re.compile(r"lora_te|text_encoder\."), "of a text encoder"),
    (re.compile(r"hada_|lokr_|lora_mid|oft_"), "of a kind that is not read here"),
)


def plain_name(module: str) -> str:
    """A module's official name, whatever stands in front of it and however it is spelt."""
    while match := PREFIX.match(module):
        module = module[match.end() :]
    if match := FLAT.match(module):
        flat = module[match.end() :]
        block = re.match(r"blocks_(\d+)(?:_|$)", flat)
        rest = flat[block.end() :] if block else flat
        module = ".".join(filter(None, (f"blocks.{block[1]}" if block else "", DOTTED.get(rest, rest))))
    return renamed(f"{module}.weight", DIFFUSERS_EXPERT).removesuffix(".weight")


def by_module(keys: Iterable[str]) -> tuple[dict[tuple[str, str], dict[str, str]], dict[str, str]]:
    """(module, "factors" or which difference) -> its parts by what they are -> their keys; and what is none of these."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    unfit: dict[str, str] = {}
    for key in keys:
        why, read = _strange(key), _read(key)
        if why is not None or read is None:
            unfit[key] = why or "of a kind that is not read here"
            continue
        *module, part = read
        parts = found.setdefault((module[0], module[1]), {})
        if parts.setdefault(part, key) != key:
            unfit[key] = f"the file has {parts[part]} too"
    return found, unfit


def _read(key: str) -> tuple[str, str, str] | None:
    """Module, "factors" or which difference, and which part of that it is."""
    if match := FACTOR.fullmatch(key):
        return match[1], "factors", "down" if match[2] in DOWN else "up"
    if match := DORA.fullmatch(key):
        return match[1], "factors", "dora"
    if match := OTHER.fullmatch(key):
        return (match[1], "factors", "alpha") if match[2] == "alpha" else (match[1], match[2], "up")
    return None


def _strange(key: str) -> str | None:
    return next((why for sign, why in STRANGERS if sign.search(key)), None)


def target_of(plain: str, kind: str) -> str:
    if kind == "diff_m":
        return f"{plain.removesuffix('.modulation')}.modulation"
    if plain.endswith(("modulation", "scale_shift_table")):
        return renamed(plain, DIFFUSERS_EXPERT)
    return f"{plain}.{'bias' if kind == 'diff_b' else 'weight'}"
