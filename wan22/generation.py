"""Videos from one checkpoint: text, noise, the denoising loop and the decoder in order, each part loaded once for all of them.

With both experts resident videos are made one after the other; otherwise all of them pass the high-noise expert and then
the low-noise one, so that no expert is loaded twice. Steps and frames are generated: whoever drives decides what to show.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from wan.device import host_available, wait_for
from wan.finite import all_finite, require_finite
from wan.latents import SPATIAL_STRIDE, video_frames
from wan.modules.streaming import Piece
from wan.refusal import Refusal
from wan22.config import Residency, ResolvedRequest
from wan22.experts import Experts
from wan22.image import GivenFrames
from wan22.memory import Phase, choose_strips, explain, usable_bytes
from wan22.parts import Parts
from wan22.pipeline import StepDone, VideoConditions, denoise, draw_noise, one_by_one, phase_by_phase
from wan22.plan import Expert, PlannedVideo

Decoded = TypeVar("Decoded", Tensor, Piece)
LatentSize = tuple[int, int, int]  # frames, rows and columns


class Generation:
    def __init__(
        self, parts: Parts, videos: Sequence[PlannedVideo], residency: Residency, given: GivenFrames | None = None
    ):
        self.parts, self.videos, self.residency = parts, videos, residency
        self.latents: list[Tensor | None] = [None] * len(videos)
        self.seconds: list[dict[str, float]] = [defaultdict(float) for _ in videos]  # by what they were spent on
        self.waited: dict[Expert, float] = {"high": 0.0, "low": 0.0}  # for it to be there: loading, and the switch
        self.strips = [1] * len(videos)  # by which each was decoded
        self.phase: Phase = "text"
        self._given = given
        needed = {step.expert for video in videos for step in video.steps}
        # one at a time: the second waits on the host if that has room for it
        ahead = residency == "one" and parts.needs(self._tokens).expert <= 0.8 * host_available()
        self._experts = Experts(parts.load_expert, parts.device, residency, needed, ahead)

    def steps(self, warm_up: bool = False) -> Iterator[tuple[int, StepDone]]:
        """Every step of every video, with the number of the video; after its last step a video can be decoded. `warm_up`
        makes one step more, unseen, so that the first one is not slower than the others."""
        conditions = self._conditions()
        self.phase = "denoise"
        if warm_up:
            next(self._run(0, conditions[0]))
        runs = [self._run(i, condition) for i, condition in enumerate(conditions)]
        order = one_by_one if self.residency == "both" else phase_by_phase
        left = len(runs)
        for i, done in order([video.steps for video in self.videos], runs):
            self.seconds[i][done.step.expert] += done.seconds
            self.waited[done.step.expert] += done.waited
            if done.step is self.videos[i].steps[-1]:
                self.latents[i] = done.latents
                left -= 1
            if not left:
                self._experts.close()  # decoding has the device to itself
            yield i, done

    def frames(self, i: int, little: bool = False) -> Iterator[np.ndarray]:
        """Video i as uint8 (F, H, W, 3), a few frames at a time, cut to the length that was asked for, and without those that
        it goes on from."""
        request, latents = self.videos[i].request, self.latents[i]
        left, known = request.frame_num, request.known_frames
        assert latents is not None, "a video is decoded after its last step"
        self.phase = "decode"
        for chunk in self._decoded(i, latents, little):
            pixels = chunk[:left]
            left, new = left - len(pixels), pixels[known:]
            known -= len(pixels) - len(new)
            if len(new):
                yield new
        self.phase = "denoise"

    def _decoded(self, i: int, latents: Tensor, little: bool) -> Iterator[np.ndarray]:
        """Whole frames, as soon as they are: of several strips, when the last one has come to them."""
        decoder, (frames, height, width) = self.parts.decoder, latents.shape[2:]
        count = choose_strips(decoder, (frames, height, width), usable_bytes(self.parts.device), little)
        self.strips[i] = count
        if count == 1:
            return (to_uint8(chunk[0]) for chunk in self._timed(i, decoder.decode_chunks(latents)))
        video = np.empty((video_frames(frames), height * SPATIAL_STRIDE, width * SPATIAL_STRIDE, 3), np.uint8)
        return joined(self._timed(i, decoder.decode_strips(latents, count)), video)

    def out_of_memory(self, tiled: bool = False) -> Refusal:
        """What to say if the device's memory did not suffice."""
        return explain(self.phase, self.residency, self.parts.needs(self._tokens), tiled)

    @property
    def _tokens(self) -> int:
        return max(video.tokens for video in self.videos)

    def _conditions(self) -> list[VideoConditions]:
        started = time.perf_counter()
        requests = [video.request for video in self.videos]
        texts = self.parts.encode_prompts([p for r in requests for p in (r.prompt, r.n_prompt)])
        for seconds in self.seconds:
            seconds["text"] = time.perf_counter() - started
        encoded = {} if self._given is None else self._encoded(self._given, requests)
        require_finite(all_finite(*texts.values(), *encoded.values()), "the text encoder, or the VAE's encoder,")
        return [VideoConditions(texts[r.prompt], texts[r.n_prompt], encoded.get(r.latent_size)) for r in requests]

    def _encoded(self, given: GivenFrames, requests: Sequence[ResolvedRequest]) -> dict[LatentSize, Tensor]:
        """The given frames as a condition, once for each size: all videos of that size share it."""
        self.phase = "image"
        vae, sizes = self.parts.load_vae(), {r.latent_size: r for r in requests}
        return {size: given.condition(*r.width_height, r.frame_num, size[0], vae) for size, r in sizes.items()}

    def _run(self, i: int, conditions: VideoConditions) -> Iterator[StepDone]:
        request = self.videos[i].request
        return denoise(
            self.videos[i].steps,
            self._experts,
            self._noise(request),
            conditions,
            request.sample_solver,
            request.half_frame_noise,
        )

    def _noise(self, request: ResolvedRequest) -> Tensor:
        return draw_noise((self.parts.config.out_dim, *request.latent_size), request.base_seed, self.parts.device)

    @torch.no_grad()
    def _timed(self, i: int, chunks: Iterator[Decoded]) -> Iterator[Decoded]:
        while True:
            started = time.perf_counter()
            chunk = next(chunks, None)
            wait_for(self.parts.device)
            self.seconds[i]["decode"] += time.perf_counter() - started
            if chunk is None:
                return
            require_finite(all_finite(chunk.pixels if isinstance(chunk, Piece) else chunk), "decoding")
            yield chunk


def joined(pieces: Iterable[Piece], video: np.ndarray) -> Iterator[np.ndarray]:
    """The frames of a video on the host, as they become whole."""
    for piece in pieces:
        video[piece.frames, piece.rows, piece.columns] = to_uint8(piece.pixels[0])
        if piece.last:
            yield video[piece.frames]


def to_uint8(frames: Tensor) -> np.ndarray:
    """(3, F, H, W) in [-1, 1] to (F, H, W, 3)."""
    return ((frames.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 3, 0).cpu().numpy()
