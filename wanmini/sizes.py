"""The architectures of the minis: the released models' classes at a few million parameters.

Sized for two CPU cores: decoding a block of 12 frames costs 31 GFLOP, a forward of the world model 2. What is kept from
the large ones: the latents (16 channels, 8x8x4), the patch, 3 latent frames a block, a window of 6, four keys and a mouse.
"""

from __future__ import annotations

from wan.config import ActionConfig, CausalConfig, CLIPConfig, T5Config, VAEConfig, WanConfig

HEIGHT, WIDTH = 96, 160
SIZE = f"{WIDTH}*{HEIGHT}"  # as a request has it
BLOCK = 3  # latent frames generated together
SCENE_FRAMES, SCENE_STEPS = 49, 20  # of a text-to-video clip
SCENE_GUIDANCE = 2.0  # captions say all there is to a scene: the large model's 3 and 4 overshoot into other colours
# how the text-to-video mini makes a video unless it is told otherwise
SCENE = {
    "size": SIZE, "any_size": True, "frame_num": SCENE_FRAMES, "sample_steps": SCENE_STEPS,
    "sample_guide_scale": SCENE_GUIDANCE,
}  # fmt: skip
DENOISING_STEPS, SHIFT = (1000, 750, 500, 250), 5.0  # read before the shift, as in the released presets
TEXT_LEN = 64

VAE = VAEConfig(dim=16, num_res_blocks=1, mean=(0.0,) * 16, std=(1.0,) * 16)  # mean and std are measured in training
CLIP = CLIPConfig(image_size=96, patch_size=16, dim=96, out_dim=96, num_heads=3, num_layers=3)
ACTION = ActionConfig(
    blocks=(0, 1, 2, 3),
    heads_num=2,
    hidden_size=16,
    img_hidden_size=192,
    keyboard_hidden_dim=128,
    mouse_hidden_dim=128,
)
CAUSAL = CausalConfig(
    dim=192, ffn_dim=512, freq_dim=256, num_heads=4, num_layers=7, visual_dim=96, action_config=ACTION
)
T5 = T5Config(vocab=256, dim=128, dim_attn=128, dim_ffn=256, num_heads=4, num_layers=3)
EXPERT = WanConfig(text_len=TEXT_LEN, dim=160, ffn_dim=640, freq_dim=256, text_dim=128, num_heads=4, num_layers=7)
