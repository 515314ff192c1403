"""Other people's names for the same tensors, as tables: how each known layout is recognised and how it is renamed.

Official names are the names of our parameters, so official files have no table. Renames are applied one after another
to every key; `name#n` marks the n-th part of a tensor that is stored in parts and joined along its first axis.
What stands in front of all keys of a file ("model.", "model.diffusion_model.", "visual.") is found, not listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Renames = tuple[tuple[str, str], ...]

EXPERT = "a Wan2.2 expert"
GAME = "a Matrix-Game model"
VAE = "a video VAE"
TINY_VAE = "a tiny VAE"
TEXT_ENCODER = "a UMT5 text encoder"
IMAGE_ENCODER = "a CLIP image encoder"

DIFFUSERS_EXPERT: Renames = (
    (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^proj_out\.", "head.head."),
    (r"\.scale_shift_table$", ".modulation"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"_attn\.to_([qkv])\.", r"_attn.\1."),
    (r"_attn\.to_out\.0\.", "_attn.o."),
    (r"\.norm2\.", ".norm3."),
    (r"\.ffn\.net\.0\.proj\.", ".ffn.0."),
    (r"\.ffn\.net\.2\.", ".ffn.2."),
)
DIFFUSERS_VAE: Renames = (
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"coder\.conv_in\.", "coder.conv1."),
    (r"coder\.norm_out\.", "coder.head.0."),
    (r"coder\.conv_out\.", "coder.head.2."),
    (r"\.down_blocks\.", ".downsamples."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
    (r"\.norm1\.", ".residual.0."),
    (r"(samples\.\d+|middle\.\d)\.conv1\.", r"\1.residual.2."),
    (r"\.norm2\.", ".residual.3."),
    (r"(samples\.\d+|middle\.\d)\.conv2\.", r"\1.residual.6."),
    (r"\.conv_shortcut\.", ".shortcut."),
)
TRANSFORMERS_T5: Renames = (
    (r"^shared\.", "token_embedding."),
    (r"^encoder\.final_layer_norm\.", "norm."),
    (r"^encoder\.block\.", "blocks."),
    (r"\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".pos_embedding.embedding."),
    (r"\.layer\.0\.SelfAttention\.", ".attn."),
    (r"\.layer\.0\.layer_norm\.", ".norm1."),
    (r"\.layer\.1\.layer_norm\.", ".norm2."),
    (r"\.layer\.1\.DenseReluDense\.wi_0\.", ".ffn.gate.0."),
    (r"\.layer\.1\.DenseReluDense\.wi_1\.", ".ffn.fc1."),
    (r"\.layer\.1\.DenseReluDense\.wo\.", ".ffn.fc2."),
)
LLAMA_T5: Renames = (  # of GGUF files
    (r"^token_embd\.", "token_embedding."),
    (r"^enc\.output_norm\.", "norm."),
    (r"^enc\.blk\.", "blocks."),
    (r"\.attn_rel_b\.", ".pos_embedding.embedding."),
    (r"\.attn_norm\.", ".norm1."),
    (r"\.ffn_norm\.", ".norm2."),
    (r"\.attn_([qkvo])\.", r".attn.\1."),
    (r"\.ffn_gate\.", ".ffn.gate.0."),
    (r"\.ffn_up\.", ".ffn.fc1."),
    (r"\.ffn_down\.", ".ffn.fc2."),
)
TRANSFORMERS_CLIP: Renames = (
    (r"^embeddings\.class_embedding$", "cls_embedding"),
    (r"^embeddings\.position_embedding\.weight$", "pos_embedding"),
    (r"^embeddings\.patch_embedding\.", "patch_embedding."),
    (r"^pre_layrnorm\.", "pre_norm."),
    (r"^post_layernorm\.", "post_norm."),
    (r"^encoder\.layers\.", "transformer."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.self_attn\.q_proj\.(\w+)$", r".attn.to_qkv.\1#0"),
    (r"\.self_attn\.k_proj\.(\w+)$", r".attn.to_qkv.\1#1"),
    (r"\.self_attn\.v_proj\.(\w+)$", r".attn.to_qkv.\1#2"),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
)


@dataclass(frozen=True)
class Layout:
    holds: str  # what such a file is, in the words of a message
    signs: tuple[str, ...]  # keys that every such file has
    renames: Renames = ()
    unused: str = ""  # pattern of keys that belong to the file and to no model here


LAYOUTS = (
    Layout(EXPERT, ("blocks.0.self_attn.q.weight", "text_embedding.0.weight")),
    Layout(EXPERT, ("blocks.0.attn1.to_q.weight",), DIFFUSERS_EXPERT),
    Layout(GAME, ("blocks.0.self_attn.q.weight", "img_emb.proj.1.weight")),
    Layout(VAE, ("decoder.upsamples.0.residual.0.gamma",)),
    Layout(VAE, ("decoder.up_blocks.0.resnets.0.norm1.gamma",), DIFFUSERS_VAE),
    Layout(TINY_VAE, ("decoder.3.conv.0.weight",)),
    Layout(TEXT_ENCODER, ("blocks.0.attn.q.weight",)),
    # the embedding is stored a second time under its other name; one exporter packs the tokenizer in as bytes
    Layout(
        TEXT_ENCODER,
        ("encoder.block.0.layer.0.SelfAttention.q.weight",),
        TRANSFORMERS_T5,
        r"encoder\.embed_tokens\.weight|spiece_model",
    ),
    Layout(TEXT_ENCODER, ("enc.blk.0.attn_q.weight",), LLAMA_T5),
    Layout(IMAGE_ENCODER, ("transformer.0.attn.to_qkv.weight", "cls_embedding"), unused=r"textual\..*|log_scale"),
    Layout(
        IMAGE_ENCODER,
        ("encoder.layers.0.self_attn.q_proj.weight", "embeddings.class_embedding"),
        TRANSFORMERS_CLIP,
        r"text_model\..*|(text|visual)_projection\.weight|logit_scale|.*embeddings\.position_ids",
    ),
)
# fp8 exports say in these how they were made; the scales of their weights (`wan.files.checkpoint`) are used, these are not
FP8_NOTES = re.compile(r"(.*\.)?(scaled_fp8|scale_input|input_scale|comfy_quant)")


def recognise(keys: Iterable[str]) -> tuple[Layout, str] | None:
    """The layout these keys are in, and what stands in front of each of them."""
    keys = set(keys)
    for layout in LAYOUTS:
        first = re.compile(rf"(|.*\.){re.escape(layout.signs[0])}")
        for prefix in (match[1] for match in map(first.fullmatch, keys) if match):
            if all(prefix + sign in keys for sign in layout.signs):
                return layout, prefix
    return None


def official_names(keys: Iterable[str], layout: Layout, prefix: str) -> dict[str, list[str]]:
    """Official name -> the keys it is stored under: one, or the parts of a joined tensor in their order.

    A key that would be a second tensor under one name is told apart, so that strict loading finds it unexpected.
    """
    unused = re.compile(layout.unused)
    kept = sorted(key for key in keys if not unused.fullmatch(key) and not FP8_NOTES.fullmatch(key))
    plain = [key.removeprefix(prefix) for key in kept]
    if layout.renames is DIFFUSERS_VAE:
        plain = number_upsamples(plain)
    names: dict[str, list[str]] = {}
    for target, key in sorted((renamed(name, layout.renames), key) for name, key in zip(plain, kept)):
        name, joined, _ = target.partition("#")
        if name in names and not joined:
            name = f"{key} (a second {name})"
        names.setdefault(name, []).append(key)
    return names


def renamed(name: str, renames: Renames) -> str:
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name


def number_upsamples(names: list[str]) -> list[str]:
    """diffusers' decoder blocks, each some resnets and one upsampler, in the official decoder's single row of layers."""
    layer = re.compile(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.(.*)")
    matches = [layer.fullmatch(name) for name in names]
    resnets = 1 + max((int(m[3]) for m in matches if m and m[2] == "resnets"), default=0)

    def place(m: re.Match[str]) -> str:
        within = int(m[3]) if m[2] == "resnets" else resnets
        return f"decoder.upsamples.{int(m[1]) * (resnets + 1) + within}.{m[4]}"

    return [place(m) if m else name for m, name in zip(matches, names)]
