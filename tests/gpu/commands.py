"""Every command as a user starts it, in a process of its own, with default flags; what it wrote is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.gpu.leg import Failed, Setting, leg
from tests.gpu.programs import process
from wan.video.reader import read_frames
from wanmini import sizes
from wanmini.start_image import GARDEN, VALLEY

MINI = (sizes.HEIGHT, sizes.WIDTH)


@leg(30)
def mg_generate(setting: Setting) -> str:
    """mg generate without flags: 141 frames of the mini, a twin with keys, a record."""
    folder = setting.own("mg_generate")
    [files] = process("mg", "generate", folder=folder)["outputs"]
    return recorded(setting, folder, files, 141, MINI, seed=0)


@leg(40, "release_game")
def mg_generate_released(setting: Setting) -> str:
    """mg generate with a released checkpoint, two worlds at once: each has its frames and its own seed."""
    folder = setting.own("mg_generate_released")
    height, width = setting.game_size
    size = ("--height", height, "--width", width, "--num_output_frames", 12)
    worlds = process(
        "mg", "generate", "--checkpoint_path", setting.checkpoint("universal"), "--batch", 2, *size, folder=folder
    )
    for seed, files in enumerate(worlds["outputs"]):
        recorded(setting, folder, files, 45, setting.game_size, seed=seed)
    return f"{worlds['frames_per_second']:.0f} frames/s, {worlds['peak_memory_gib']:.1f} GiB"


@leg(40)
def mg_stream(setting: Setting) -> str:
    """mg stream --script: as long as the script, and its record replays to the same file, byte for byte."""
    folder = setting.own("mg_stream")
    [take] = process(
        "mg", "stream", "--script", "W*21 L*12 WL*12", "--image", GARDEN, "--output", "a.mp4", folder=folder
    )["takes"]
    said = recorded(setting, folder, take, 45, MINI, seed=0)
    [again] = process("mg", "stream", "--script", "a.json", "--image", GARDEN, "--output", "b.mp4", folder=folder)[
        "takes"
    ]
    if (folder / again["video"]).read_bytes() != (folder / take["video"]).read_bytes():
        raise Failed("the replay is another video")
    return said


@leg(3)
def mg_frames(setting: Setting) -> str:
    """mg frames: 150 latent frames are 597 video frames."""
    said = process("mg", "frames", folder=setting.own("mg_frames"))
    if (said["blocks"], said["frames"]) != (50, 597):
        raise Failed(f"{said['blocks']} blocks, {said['frames']} frames")
    return f"{said['frames']} frames"


@leg(10)
def mg_doctor(setting: Setting) -> str:
    """mg doctor: names the GPU, an attention backend that works, and an encoder."""
    said = process("mg", "doctor", folder=setting.own("mg_doctor"))
    if not setting.rehearse and not said["devices"]:
        raise Failed("it sees no GPU")
    working = [name for name, answer in said["attention"].items() if answer == "ok"]
    if not working or said["ffmpeg"]["problem"]:
        raise Failed(f"attention {said['attention']}, ffmpeg {said['ffmpeg']['problem']}")
    return f"attention {', '.join(working)}"


@leg(3)
def wan22_plan(setting: Setting) -> str:
    """wan22 plan: 40 steps, 26 of them with the high-noise expert."""
    said = process("wan22", "plan", "--prompt", "A cat", folder=setting.own("wan22_plan"))
    if (len(said["steps"]), said["totals"]["high"]) != (40, 26):
        raise Failed(f"{said['totals']}")
    return f"{said['totals']['forwards']} forwards"


@leg(20)
def wan22_t2v(setting: Setting) -> str:
    """wan22 t2v with a prompt alone: 49 frames of the mini and a record."""
    folder = setting.own("wan22_t2v")
    asked = (
        "--prompt",
        "A large blue disc moves quickly up on a dark background.",
        "--save_file",
        "a.mp4",
        *setting.clip(),
    )
    [video] = process("wan22", "t2v", *asked, folder=folder)["videos"]
    return made(setting, folder, video, 9 if setting.rehearse else sizes.SCENE_FRAMES, MINI)


@leg(30, "release_i2v")
def wan22_i2v(setting: Setting) -> str:
    """wan22 i2v with a released checkpoint: a video of the image's shape and a record."""
    folder = setting.own("wan22_i2v")
    asked = ("--image", VALLEY, "--prompt", "A cat", "--ckpt_dir", setting.wan22("i2v-A14B"), "--save_file", "a.mp4")
    [video] = process("wan22", "i2v", *asked, *setting.video(), folder=folder)["videos"]
    width, height = map(int, video["size"].split("*"))
    return made(setting, folder, video, 9 if setting.rehearse else 17, (height, width))


@leg(60)
def mg_bench(setting: Setting) -> str:
    """mg bench --quick of its first case: every row is right, a report is written."""
    return benched(setting, "mg", which=0)


@leg(60)
def wan22_bench(setting: Setting) -> str:
    """wan22 bench --quick of its last case: every row is right, a report is written."""
    return benched(setting, "wan22", which=-1)  # the first are whole experts: 28 GB


def benched(setting: Setting, program: str, which: int) -> str:
    folder = setting.own(f"{program}_bench")
    case = list(process(program, "bench", "--list", folder=folder)["cases"])[which]
    said = process(program, "bench", "--quick", "--only", case, "--output_dir", folder, folder=folder)
    [measured] = said["cases"]
    if not (folder / f"{program}_{case}.md").exists():
        raise Failed(f"no {program}_{case}.md")
    timed = {row["name"]: row["median_ms"] for row in measured["rows"] if row["median_ms"]}
    return f"{case}: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in timed.items())


def recorded(
    setting: Setting, folder: Path, files: dict[str, Any], frames: int, size: tuple[int, int], seed: int
) -> str:
    """A world's video, its twin and its record."""
    for name in ("video", "icon"):
        readable(folder / files[name], frames, size)
    record = json.loads((folder / files["record"]).read_text())
    if (record["frames"], record["seed"]) != (frames, seed):
        raise Failed(f"{files['record']} is of {record['frames']} frames, seed {record['seed']}")
    on(setting, record)
    return f"{record['timings']['frames_per_second']:.0f} frames/s"


def made(setting: Setting, folder: Path, video: dict[str, Any], frames: int, size: tuple[int, int]) -> str:
    """A video and its record."""
    readable(folder / video["video"], frames, size)
    record = json.loads((folder / video["video"]).with_suffix(".json").read_text())
    if record["request"]["frame_num"] != frames or record["seed"] != video["seed"]:
        raise Failed(f"the record is of {record['request']['frame_num']} frames, seed {record['seed']}")
    on(setting, record)
    return f"{video['seconds']['high'] + video['seconds'].get('low', 0):.1f} s of denoising"


def readable(path: Path, frames: int, size: tuple[int, int]) -> None:
    """So many frames of this height and width, and not all of one colour."""
    shown = list(read_frames(path))
    if len(shown) != frames or shown[0].shape != (*size, 3):
        raise Failed(
            f"{path.name} has {len(shown)} frames of {shown[0].shape[:2] if shown else None}, not {frames} of {size}"
        )
    if max(frame.std() for frame in shown) < 2:
        raise Failed(f"{path.name} is empty")


def on(setting: Setting, record: dict[str, Any]) -> None:
    if not record["device"].startswith(setting.device):
        raise Failed(f"made on {record['device']}, not on {setting.device}")
