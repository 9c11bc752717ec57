"""The `Trainer` of Hugging Face's transformers with actrec's nets and loaders.

    pip install 'transformers[torch]'
    python docs/examples/transformers_trainer.py FOLDER [EPOCHS]

FOLDER contains train.txt, val.txt and labels.txt, as `actrec extract-frames` writes them. The program prints the losses
and metrics of the `Trainer`, and then the accuracy on the validation videos. It stores the checkpoints in
`FOLDER/transformers`. Call it again with more epochs to continue from the last one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import EvalPrediction, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

import actrec
from actrec.pipelines.loader import Loader


class Classifier(torch.nn.Module):
    """A net that computes its own loss, as the `Trainer` expects."""

    def __init__(self, net: torch.nn.Module):
        super().__init__()
        self.net = net

    def forward(self, clips: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(clips)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


class Batches:
    """A loader of actrec whose batches are dictionaries, as the `Trainer` expects."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for batch in self.loader:
            yield {"clips": batch.clips, "labels": batch.labels}

    def set_epoch(self, epoch: int) -> None:
        """The `Trainer` calls this before each epoch, so that a continued training draws the clips of that epoch."""
        self.loader.epoch = epoch


class VideoTrainer(Trainer):
    """Takes its batches from actrec's loaders, which decode in threads and shuffle."""

    def __init__(self, *, folder: Path, net: torch.nn.Module, clip: actrec.Clip, args: TrainingArguments):
        place = {"device": args.device, "rank": args.process_index, "world": args.world_size}
        size = args.per_device_train_batch_size * args.world_size  # the batch size of all processes together
        self._train = Batches(actrec.train_loader(folder / "train.txt", clip, net.input, batch_size=size, **place))
        self._val = Batches(actrec.eval_loader(folder / "val.txt", clip, net.input, **place))
        super().__init__(Classifier(net), args, eval_dataset=self._val, compute_metrics=top1)

    def get_train_dataloader(self) -> Batches:
        return self._train

    def get_eval_dataloader(self, eval_dataset: object = None) -> Batches:
        return self._val


def top1(prediction: EvalPrediction) -> dict[str, float]:
    return {"top1": 100 * float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}


def main(folder: Path, *, epochs: int = 20) -> float:
    """Returns the top-1 accuracy on the validation videos, in percent."""
    classes = (folder / "labels.txt").read_text().splitlines()
    net, clip, out = actrec.net("tiny3d", num_classes=len(classes)), actrec.Clip(frames=8), folder / "transformers"
    args = TrainingArguments(
        str(out), num_train_epochs=epochs, learning_rate=1e-3, eval_strategy="epoch", save_strategy="epoch",
        logging_strategy="epoch", report_to="none", ignore_data_skip=True,
    )  # fmt: skip
    trainer = VideoTrainer(folder=folder, net=net, clip=clip, args=args)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(out)) if out.exists() else None)

    # Now a video can have several views.
    loader = actrec.eval_loader(folder / "val.txt", clip, net.input, views=actrec.Views(clips=2, crops=3))
    result = actrec.evaluate(net.cpu(), loader)
    print(result)
    return result.top1


if __name__ == "__main__":
    main(Path(sys.argv[1]), epochs=int(sys.argv[2]) if len(sys.argv) > 2 else 20)
