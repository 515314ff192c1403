"""`wan22 download`: as `mg download`, with the models of Wan2.2 in front."""

from __future__ import annotations

from typing import Annotated

from mgcli.app.models import VIDEO_MODELS
from mgcli.app.options import ModelsDir
from mgcli.commands.download import DryRun, download_model, named_model

EXAMPLES = (
    ("wan22 download t2v-A14B --dry_run", "which files, and how large"),
    ("wan22 download t2v-A14B", "fetch them; the same command goes on where it was interrupted"),
    ("wan22 download i2v-A14B --dir /data/models", "into a folder of yours; say MG_MODELS=/data/models from then on"),
)


def wan22_download(
    model: Annotated[str, named_model(VIDEO_MODELS)], dir: ModelsDir = None, dry_run: DryRun = False
) -> None:
    """Fetch the files that a released model needs.

    Says their sizes first, goes on where an earlier try stopped, and checks them at the end.
    """
    download_model(model, dir, dry_run)
