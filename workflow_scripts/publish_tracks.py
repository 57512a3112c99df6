"""Rule publish_tracks: the result file of the configured pipeline is a copy of the chosen route's tracks."""

import shutil
from pathlib import Path

from wsvis_core.job import job
from wsvis_core.quality.routes import chosen_route
from wsvis_core.storage.files import atomic_path

with job(snakemake.log[0], threads=snakemake.threads), atomic_path(Path(snakemake.output.tracks)) as temporary:
    shutil.copyfile(snakemake.input.tracks[chosen_route(snakemake.input.route)], temporary)
