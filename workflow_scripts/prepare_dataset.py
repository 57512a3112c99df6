"""Rule prepare_dataset: check the videos and write the lists every later stage reads."""

from pathlib import Path

from wsvis_core.config import DatasetSettings
from wsvis_core.datasets.prepare import prepare_dataset
from wsvis_core.job import job

with job(snakemake.log[0], threads=snakemake.threads):
    settings = DatasetSettings.model_validate(snakemake.params.settings["dataset"])
    prepare_dataset(
        Path(settings.root),
        Path(snakemake.output.videos).parent,
        name=snakemake.wildcards.dataset,
        annotation_file=settings.annotation_file,
        frames_folder=settings.frames_folder,
        all_frames_folder=settings.all_frames_folder,
        split_mode=settings.split.mode,
        per_category=settings.split.val_per_category,
        target_union=settings.split.target_union,
        seed_start=settings.split.seed,
        check_images=settings.check_images,
        workers=snakemake.threads,
    )
