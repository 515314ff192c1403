"""A video as a moving picture for these pages: python docs/moving.py VIDEO PICTURE.webp [FRAMES A SECOND] [EVERY].

WebP, because it holds soft pictures at a tenth of what a GIF takes. Twice the size, so that the minis can be seen.
docs/world.webp is `mg generate`'s demo_icon.mp4 and docs/video.webp a clip of `wan22 t2v`; docs/README.md has the commands.
"""

import sys

from PIL import Image

from wan.video.reader import read_frames

LARGER, QUALITY = 2, 82


def draw(video: str, picture: str, fps: float = 25, every: int = 1) -> None:
    """Every `every`-th frame of the video, shown for as long as those left out took too."""
    frames = [Image.fromarray(frame) for frame in read_frames(video)][::every]
    large = [frame.resize((frame.width * LARGER, frame.height * LARGER), Image.Resampling.LANCZOS) for frame in frames]
    lasts = round(1000 * every / fps)
    large[0].save(picture, save_all=True, append_images=large[1:], duration=lasts, loop=0, quality=QUALITY, method=6)


if __name__ == "__main__":
    video, picture, *numbers = sys.argv[1:]
    draw(video, picture, *(int(number) for number in numbers))
