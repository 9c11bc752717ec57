"""A Lightning `Trainer` with actrec's nets and loaders.

    pip install lightning
    python docs/examples/lightning_module.py FOLDER [EPOCHS]

FOLDER contains train.txt, val.txt and labels.txt, as `actrec extract-frames` writes them. The program prints the
progress bar of Lightning, and then the accuracy on the validation videos. It stores the checkpoints of Lightning in
`FOLDER/lightning`. Call it again with more epochs to continue from the last one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightning
import torch

import actrec
from actrec.pipelines.batch import Batch


class Classifier(lightning.LightningModule):
    """Trains any net of actrec."""

    def __init__(self, name: str, num_classes: int, lr: float = 1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.net = actrec.net(name, num_classes=num_classes)

    def on_train_epoch_start(self) -> None:
        # A loader counts its epochs itself. After a restart it continues with the epoch of the trainer.
        self.trainer.train_dataloader.epoch = self.current_epoch

    def training_step(self, batch: Batch) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.net(batch.clips), batch.labels)
        self.log("loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Batch) -> None:
        hits = self.net(batch.clips).argmax(1) == batch.labels
        self.log("top1", 100 * hits.float().mean(), prog_bar=True, batch_size=len(batch), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])


class Videos(lightning.LightningDataModule):
    """The lists of a dataset folder.

    Do not wrap the loaders in a `DataLoader`: they decode in threads, shuffle, and divide the list among processes.
    """

    def __init__(self, folder: Path, net_input: actrec.Input, *, batch_size: int = 8, frames: int = 8):
        super().__init__()
        self.folder, self.net_input, self.batch_size = folder, net_input, batch_size
        self.clip = actrec.Clip(frames=frames)

    def _place(self) -> dict:
        trainer = self.trainer
        assert trainer is not None
        return {"rank": trainer.global_rank, "world": trainer.world_size, "device": trainer.strategy.root_device}

    def train_dataloader(self) -> object:
        # The batch size is that of all processes together.
        path, size = self.folder / "train.txt", self.batch_size
        return actrec.train_loader(path, self.clip, self.net_input, batch_size=size, **self._place())

    def val_dataloader(self) -> object:
        return actrec.eval_loader(self.folder / "val.txt", self.clip, self.net_input, **self._place())


def main(folder: Path, *, epochs: int = 20) -> float:
    """Returns the top-1 accuracy on the validation videos, in percent."""
    classes = (folder / "labels.txt").read_text().splitlines()
    module = Classifier("tiny3d", num_classes=len(classes))
    data = Videos(folder, module.net.input)
    keep = lightning.pytorch.callbacks.ModelCheckpoint(folder / "lightning", save_last=True)
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=[keep], logger=False, default_root_dir=folder)
    last = folder / "lightning/last.ckpt"
    trainer.fit(module, data, ckpt_path=last if last.exists() else None)

    # actrec reads the checkpoint as weights of its net. Now a video can have several views.
    clip, views = actrec.Clip(frames=8), actrec.Views(clips=2, crops=3)
    model = actrec.load(last, net="tiny3d", classes=classes, clip=clip, views=views)
    result = model.evaluate(folder / "val.txt")
    print(result)
    return result.top1


if __name__ == "__main__":
    main(Path(sys.argv[1]), epochs=int(sys.argv[2]) if len(sys.argv) > 2 else 20)
