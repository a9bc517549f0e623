"""`python -m examples.segmentation`: both models, both noise levels, several seeds, one table."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import click
import torch

from examples.report import paired_table
from examples.segmentation import scenes
from examples.segmentation.models import MODELS
from examples.segmentation.train import Setting, run

# Train and val scenes, batch size, epochs, seeds, epsilons.
FULL = (2000, 100, 100, 3, 5, (2.0, 8.0))
QUICK = (300, 20, 60, 2, 2, (8.0,))


@click.command()
@click.option("--data", type=click.Choice(["generated", "cityscapes", "a2d2"]), default="generated")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the data set.")
@click.option("--quick", is_flag=True, help="One minute: to see that it works, not a result.")
@click.option("--epsilon", "epsilons", type=float, multiple=True, help="Targets.")
@click.option("--seeds", type=click.IntRange(2), help="Paired seeds.")
@click.option("--epochs", type=click.IntRange(1))
@click.option("--batch-size", type=click.IntRange(1))
@click.option("--delta", type=float, help="Default: one over the number of training images.")
@click.option("--workers", type=click.IntRange(1), default=2, help="Trainings at a time.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of results and checkpoints.")
def main(*, data, root, quick, epsilons, seeds, epochs, batch_size, delta, workers, out) -> None:
    """Train DeepLabV3+ and PSPNet with image-level and with patch-level noise.

    The same (epsilon, delta) under substitution: of a whole image, or of one patch in one image.
    With --out an interrupted comparison is continued.
    """
    train, val, usual_batch, usual_epochs, usual_seeds, usual_epsilons = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as scratch:
        folder = out or Path(scratch) / "out"
        if data == "generated":
            root = root or (out or Path(scratch)) / "scenes"
            scenes.write(root, train=train, val=val)
            image, crop, patch = (scenes.HEIGHT, scenes.WIDTH), (32, 32), (4, 4)
        elif root is None:
            raise click.UsageError(f"--root: where is {data}?")
        else:
            image = (1024, 2048) if data == "cityscapes" else (1208, 1920)
            crop, patch = (505, 505), (10, 10)
        setting = Setting(
            data=data,
            root=str(root),
            image=image,
            crop=crop,
            patch=patch,
            batch_size=batch_size or usual_batch,
            epochs=epochs or usual_epochs,
            delta=1.0,
            physical_batch=64 if data == "generated" else 4,
        )
        images = len(setting.dataset("train"))
        setting = Setting(**{**vars(setting), "delta": delta or 1 / images})
        targets = epsilons or usual_epsilons
        click.echo(
            f"{images} images {image[0]}x{image[1]}, crop {crop[0]}x{crop[1]}, patch "
            f"{patch[0]}x{patch[1]}, batch {setting.batch_size} (Poisson), "
            f"{setting.epochs} epochs, delta {setting.delta:.4g}"
        )
        noises = {(lv, e): setting.noise(lv, e) for e in targets for lv in ("image", "patch")}
        jobs = [
            {
                "model": model,
                "level": level,
                "epsilon": epsilon,
                "noise": noises[level, epsilon],
                "seed": seed,
            }
            for seed in range(seeds or usual_seeds)
            for epsilon in targets
            for model in MODELS
            for level in ("image", "patch")
        ]
        results = train_all(setting, jobs, folder, workers)
    for model in MODELS:
        parameters = sum(p.numel() for p in MODELS[model](7).parameters())
        click.echo(f"{model}: {parameters:,} parameters")
    most = max(r["spent"] / r["epsilon"] for r in results)
    click.echo(f"every run spent at most {100 * most:.2f}% of its epsilon\n")
    click.echo(paired_table(results, measure="miou", noises=noises))


def train_all(setting, jobs, folder, workers):
    """Run every training, a line as each ends."""
    begun, results = time.monotonic(), []
    context = torch.multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for done in as_completed([pool.submit(run, setting, folder, **job) for job in jobs]):
            result = done.result()
            results.append(result)
            passed = time.monotonic() - begun
            left = passed / len(results) * (len(jobs) - len(results))
            click.echo(
                f"[{len(results)}/{len(jobs)}] {result['model']:<11} {result['level']:<6}"
                f"epsilon {result['epsilon']:g} seed {result['seed']}: "
                f"{100 * result['miou']:.2f}  ({passed:.0f} s, about {left:.0f} s left)",
                err=True,
            )
    return results


if __name__ == "__main__":
    main()
