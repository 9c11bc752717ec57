"""Your own net and your own augmentation, with a training loop in plain PyTorch that can be stopped and continued.

    python docs/examples/own_net.py FOLDER [EPOCHS]

FOLDER contains train.txt, val.txt and labels.txt, as `actrec extract-frames` writes them. If it also contains
`flips.txt`, the loader mirrors clips accordingly. The program prints the loss of each epoch and the accuracy on the
validation videos. It saves a checkpoint after each epoch. Call it again with more epochs to continue from there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

import actrec
from actrec import augment


class ConvGRU(nn.Module):
    """Convolutions for each frame, and a recurrent layer over the frames."""

    # How the loaders feed the net. Without it, clips have 16 frames of 112x112 pixels.
    input = actrec.Input(mean=(0.45,) * 3, std=(0.225,) * 3, frames=8, size=64)

    def __init__(self, num_classes: int, width: int = 32):  # `width` becomes an option of the net
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.frames = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.time = nn.GRU(4 * width * 16, 2 * width, batch_first=True)
        self.last_layer = nn.Linear(2 * width, num_classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes) of clips (N, 3, T, size, size)."""
        found = self.frames(clips.transpose(1, 2).flatten(0, 1))
        steps, _ = self.time(found.unflatten(0, (len(clips), -1)))
        return self.last_layer(steps[:, -1])


@augment.register("lost_frames")
@dataclass(frozen=True)
class LostFrames(augment.Augmentation):
    """Replaces some frames by the frame before them, like a camera that loses frames."""

    lost_frames: float = augment.opt(0.0, "Fraction of frames that are lost.", at_least=0, at_most=1)

    @property
    def is_on(self) -> bool:
        return self.lost_frames > 0

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        return rng.random(64) < self.lost_frames  # always in the same shape

    def reorder(self, frames: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        places = np.arange(len(frames))
        return frames[np.maximum.accumulate(np.where(np.resize(drawn, len(frames)), 0, places))]


actrec.nets.register("conv_gru", ConvGRU)


def main(folder: Path, *, epochs: int = 30) -> float:
    """Returns the top-1 accuracy on the validation videos, in percent."""
    classes = (folder / "labels.txt").read_text().splitlines()
    net = actrec.net("conv_gru", num_classes=len(classes))
    options = actrec.Augment(lost_frames=0.1, scales=(1.0, 0.875))
    loader = actrec.train_loader(folder / "train.txt", actrec.Clip(), net.input, augment=options, batch_size=8)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    checkpoint = folder / "conv_gru.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(saved["state_dict"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.load_state_dict(saved["loader"])  # the next epoch draws what it would have drawn without the stop

    while loader.epoch < epochs:
        epoch, losses = loader.epoch + 1, []
        for batch in loader:
            loss = nn.functional.cross_entropy(net(batch.clips), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}", flush=True)
        state = {"state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "loader": loader.state_dict()}
        torch.save(state, checkpoint)

    # The model evaluates, predicts, explains and exports. It needs only the checkpoint and the name of the net.
    model = actrec.load(checkpoint, net="conv_gru", classes=classes)
    result = model.evaluate(folder / "val.txt")
    print(result)
    return result.top1


if __name__ == "__main__":
    main(Path(sys.argv[1]), epochs=int(sys.argv[2]) if len(sys.argv) > 2 else 30)
