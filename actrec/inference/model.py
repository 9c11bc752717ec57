"""A trained net, and everything that is needed to use it.

model = actrec.load("runs/2026-11-28_s3d")
model.predict("a.mp4")                          # [("jump", 0.93), ("run", 0.04), ...]
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch

from actrec import config, nets
from actrec.arguments import checked
from actrec.config import Clip, Frame, Input, OptionError, Scoring, Views, Windows
from actrec.data.index import Index, Rows, build_index, notices, open_rows
from actrec.data.lists import Video, find_labels, read_labels
from actrec.data.sampling.protocols import Protocol
from actrec.data.score_file import numbers
from actrec.data.storage import is_local
from actrec.engine import checkpoint, dist
from actrec.engine import evaluate as scores
from actrec.engine.build import build_net
from actrec.engine.datafolder import best_checkpoint, refuse_other_classes
from actrec.engine.devices import choose_device, choose_precision, move
from actrec.engine.evaluate import Result
from actrec.engine.failures import with_name
from actrec.engine.metrics import best_classes
from actrec.engine.runfolder import BEST
from actrec.inference import explain as explaining
from actrec.inference import protocols
from actrec.inference.embeddings import Embeddings
from actrec.inference.explain import Explanation
from actrec.inference.stream import LivePrediction, stream
from actrec.inference.timeline import Timeline
from actrec.nets.outside import last_layer, layer_of
from actrec.nets.recognize import recognize
from actrec.nets.weights import Account, untrained
from actrec.nets.weights_file import entry_note
from actrec.pipelines.loader import Loader, eval_loader
from actrec.pipelines.sweep import Sweep
from actrec.settings import check_value
from actrec.words import counted, some_of

if TYPE_CHECKING:
    from actrec.inference.export import Exported

_VIEWS_OF_A_BATCH = 32

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, repr=False)
class Model:
    """A trained net, and how videos become its input. `actrec.load` returns one.

        model = actrec.load("runs/2026-11-28_s3d")
        print(model)  # the net, its classes, clips, views and device
        model.predict("a.mp4")  # [("jump", 0.93), ("run", 0.04), ...]

    A model is immutable. `dataclasses.replace(model, views=actrec.Views(clips=10, crops=3))` returns a changed copy.

    Args:
        net: In evaluation mode, on `device`.
        input: Size, mean and standard deviation of the frames.
        clip: Which frames form a clip, with `frames` set.
        views: Which clips and crops of a video are scored.
        classes: The name of each class; None if they are unknown.
        scoring: What is averaged over the views, the arithmetic of the net, and the number of videos in a batch.
        multi_label: Videos may have several labels. Probabilities are then those of each class by itself.
        channels_last: Use the channels-last memory format.
        loader: Number of decoding threads, and number of batches that are decoded ahead.
        source: The file from which the model was loaded.
        protocol: The protocol with the frames, crops and normalization that `score`, `predict` and `evaluate` use
            for whole videos, instead of `clip` and `views`. The other methods always use `clip` and `views`. For
            published weights, `clip` has the frames and the stride of their protocol.
        protocol_note: A line for the user: why this protocol is used, and which options differ from it.
        weights_note: A line for the user: which entry of the file was read. Empty if it has only one with weights.
        untrained: The layers of the net with random weights, because the file contains none for them: `embed` can be
            called, but not the methods that give scores.
        epochs: For a checkpoint, the epoch in which it was saved, from 1, and the number of epochs of its run. None if
            they are unknown.
        seen: Gets the index of each call's videos, for `notices`. None keeps none: a program may run for long.
    """

    net: nets.Backbone
    input: Input
    clip: Clip
    views: Views
    classes: Sequence[str] | None
    scoring: Scoring
    multi_label: bool
    channels_last: bool
    device: torch.device
    loader: config.Loader
    source: Path
    protocol: Protocol | None = None
    protocol_note: str = ""
    weights_note: str = ""
    untrained: tuple[str, ...] = ()
    epochs: tuple[int, int] | None = None
    seen: list[Index] | None = field(default=None, compare=False)

    @property
    def num_classes(self) -> int:
        return int(self.net.options["num_classes"])  # type: ignore[arg-type]

    @property
    def class_names(self) -> Sequence[str]:
        """The name of each class, or its number if the names are unknown."""
        return self.classes if self.classes is not None else numbers(self.num_classes)

    @property
    def precision(self) -> str:
        """The arithmetic of the net: float32 on a CPU unless another one was chosen."""
        if self.scoring.precision != "auto":
            return self.scoring.precision
        if self.protocol is not None:
            return self.protocol.precision
        return choose_precision("auto", self.device) if self.device.type == "cuda" else "float32"

    @property
    def average(self) -> Literal["logits", "probabilities"]:
        """What is averaged over the views of a video."""
        return self.scoring.average or scores.average_of(self.protocol)

    @property
    def batch_size(self) -> int:
        """Number of videos in a batch. It changes no result."""
        views = self.views.num_views if self.protocol is None else (self.protocol.clips or 1) * self.protocol.crops
        return self.scoring.batch_size or max(1, _VIEWS_OF_A_BATCH // views)

    @property
    def feature_layer(self) -> str | None:
        """The layer of which `embed` takes the output; None for the input of the last layer.

        If the file contains no weights for other layers than the last one, it is the last layer before these.

        Raises:
            ValueError: There is none.
        """
        if not self.untrained or layer_of(self.net, self.untrained[0]) is last_layer(self.net)[1]:
            return None
        names = [name for name, layer in self.net.named_children() if any(True for _ in layer.parameters())]
        before = names[: names.index(self.untrained[0])]
        if not before:
            raise ValueError(
                f"{self.source}: contains no weights for {some_of(self.untrained)}, so the features would be random"
            )
        return before[-1]

    @checked
    def require_trained(self) -> None:
        """Raises ValueError if scores would be random."""
        if self.untrained:
            train = f"actrec train --backbone {self.net.name} --weights {self.source} --new-head"
            raise ValueError(
                f"{self.source}: contains no weights for {some_of(self.untrained)}, so the scores would be random: "
                f"expected a file with all layers, or a run of `{train}`"
            )

    def __repr__(self) -> str:
        clip, views, size, rule = self.clip, self.views, self.input.side, self.protocol
        stride = f", stride {clip.stride}" if clip.sampling == "dense" else ""
        return "\n".join(
            (
                f"{self.net.name} from {self.source}",
                f"  classes  {self.num_classes}: {some_of(self.class_names)}",
                f"  clip     {clip.frames} frames of {size}x{size}, {clip.modality}, {clip.sampling} sampling{stride}",
                f"  views    {counted(views.clips, 'clip')} x {counted(views.crops, 'crop')} of a video, "
                f"average of {self.average}",
                *([f"  protocol {rule.name}, for whole videos instead of clip and views"] if rule else []),
                f"  device   {self.device}, {self.precision}",
            )
        )

    # ---- whole videos ----

    @overload  # a text is also a sequence of texts
    def predict(self, videos: PathLike, *, topk: int = 5) -> list[tuple[str, float]]: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, videos: Sequence[PathLike], *, topk: int = 5) -> list[list[tuple[str, float]]]: ...

    @checked
    def predict(self, videos: PathLike | Sequence[PathLike], *, topk: int = 5) -> Any:
        """The most likely classes of a video, or of each of several videos: [(class, probability), ...], best first.

            model.predict("a.mp4")  # [("jump", 0.93), ("run", 0.04), ...]
            model.predict(["a.mp4", "b.mp4"], topk=1)  # [[("jump", 0.93)], [("run", 0.71)]]

        The scores are those of `evaluate`, bit for bit.

        Args:
            videos: A video file or frame folder, or a sequence of them. Also URLs, and members of archives.
            topk: Number of classes; 0: all.

        Raises:
            FileNotFoundError: There is no such file or folder.
            ValueError: A video cannot be used; the message names it. Nothing is returned for the other videos either:
                `score` returns their scores, and the reasons for all videos that cannot be used.
        """
        check_value("topk", topk, int, at_least=0)
        paths = [os.fspath(path) for path in ([videos] if isinstance(videos, (str, os.PathLike)) else videos)]
        result = self.score([_video(path) for path in dict.fromkeys(paths)])
        unused = result.missing | result.left_out
        for path, reason in unused.items():
            others = f" ({len(unused)} of {len(paths)} videos cannot be used: `model.score` scores the others)"
            raise ValueError(with_name(path, reason) + (others if len(paths) > 1 else ""))
        best = dict(zip(result.ids, self.best_classes(result, topk)))
        found = [best[path] for path in paths]
        return found[0] if isinstance(videos, (str, os.PathLike)) else found

    @checked
    def score(
        self, videos: Rows, *, index: Index | None = None, progress: Callable[[int], None] | None = None
    ) -> Result:
        """Scores videos. In several processes, each scores its part, and all of them get the whole result.

            result = model.score([actrec.Video.of("a.mp4"), actrec.Video.of("b.mp4")])
            print(result.scores.shape, result.missing)  # (2, classes), and the reasons for those without scores

        Args:
            videos: The path of a list, or its rows. Their ids must differ. With a path, the index of the list is kept
                in `<list>.index.npy`, as the commands do.
            index: Of these videos; built here if not given.
            progress: Called with the number of videos scored since the last call, in all processes together.

        Returns:
            Scores (videos, classes), which may be of no video. `missing` names the videos that cannot be used, and
            those for which the net gives NaN.

        Raises:
            FileNotFoundError: There is no such list.
            ValueError: The net does not fit the videos' labels or modality, or the list is empty or malformed.
        """
        rows, cache = open_rows(videos, flow=self.clip.modality == "flow")
        return self._score(rows, index=index, cache=cache, progress=progress)

    def _score(
        self,
        videos: Sequence[Video],
        *,
        index: Index | None = None,
        cache: Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Result:
        self.require_trained()
        batches = self.make_loader(videos, index=index, cache=cache, protocol=self.protocol)
        own = scores.score(
            self.net,
            batches,
            average=self.average,
            precision=self.precision,
            progress=(lambda n: progress(n * dist.world())) if progress else None,
        )
        return scores.without_nan(scores.merge(dist.gather(own), videos))

    @checked
    def timeline(
        self,
        video: PathLike | Video,
        *,
        every: float = Windows.every,
        window: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Timeline:
        """Scores windows that slide over a long video. Each frame is decoded once, and memory use does not
        grow with the length of the video.

            timeline = model.timeline("match.mp4", every=0.5)
            timeline.segments()                     # [Segment(start=12.0, end=15.5, label=3, score=0.91), ...]

        The scores are those of `evaluate` for a list with the ranges of the windows; on a CPU, bit for bit.

        Args:
            video: A video file or frame folder, or a row of a list.
            every: Seconds from the start of one window to the start of the next.
            window: Length of a window in seconds. Default: 2; with dense sampling, what a clip covers.
            progress: Called with the number of windows scored so far, and of all.

        Returns:
            The times, scores and segments of the windows.

        Raises:
            FileNotFoundError: There is no such file or folder.
            ValueError: The video cannot be used, its number of frames per second is not known, or none of its windows
                can be scored.
        """
        self.require_trained()
        video = _video(video.path, video) if isinstance(video, Video) else _video(video)
        sweep, done = self.make_sweep(video, Windows(every, window)), 0

        def tell(count: int) -> None:
            nonlocal done
            done += count
            if progress:
                progress(done, len(sweep.videos))

        result = scores.without_nan(
            scores.score(self.net, sweep, average=self.average, precision=self.precision, progress=tell)
        )
        if not result.ids:
            raise ValueError(next(iter(result.missing.values())))
        row_of = {row.id: i for i, row in enumerate(sweep.videos)}
        scored = [row_of[id_] for id_ in result.ids]
        return Timeline(
            video=video,
            media=sweep.media,
            classes=self.class_names,
            times=sweep.times[scored],
            ranges=sweep.ranges[scored],
            scores=result.scores,
            multi_label=self.multi_label,
            missing=result.missing,
            clamped=result.clamped,
            decoded=sweep.decoded,
        )

    @checked
    def evaluate(self, path: PathLike) -> Result:
        """Scores the videos of a list, and compares them with its labels.

            result = model.evaluate("val.txt")
            print(result)  # top-1 87.50  top-5 100.00  mean-class 87.50  (80 videos, 0 missing)

        Args:
            path: A list file. Its index is kept in `<list>.index.npy`, as the commands do.

        Returns:
            The scores of the videos, and their accuracies. `missing` names the videos that cannot be used.

        Raises:
            FileNotFoundError: There is no such list.
            ValueError: The list is empty or malformed, its classes are not those of the net, or no video can be
                scored.
        """
        videos, cache = open_rows(path, flow=self.clip.modality == "flow", name="path")
        self.with_classes_of(Path(path), videos)
        return scores.check_scored(self._score(videos, cache=cache))

    def with_classes_of(self, list_path: Path, videos: Sequence[Video]) -> Model:
        """The model, with the class names that are stored next to a list if it has none.

        Args:
            videos: The rows of the list. If none of them has a label, the names may be those of other classes.

        Raises:
            ValueError: The labels of the list stand for other classes than those of the net.
        """
        found = find_labels(list_path.parent)
        labeled = any(video.labels for video in videos)
        if found is None or (self.classes is not None and not labeled):
            return self
        if self.classes is not None:
            refuse_other_classes(list_path, self.classes)
            return self
        names = read_labels(found)
        if len(names) == self.num_classes:
            return replace(self, classes=names)
        if not labeled:
            return self
        raise ValueError(
            f"{found}: {counted(len(names), 'class name')}, but the net of {self.source} has "
            f"{counted(self.num_classes, 'class')}: expected a list with the classes of the net"
        )

    @checked
    def export(self, folder: PathLike, *, pt2: bool = True, force: bool = False) -> Exported:
        """Writes the net as ONNX for programs without actrec, with everything that they need to use it.

            model.export("exported")

        The graph takes decoded frames, uint8 (N, T, H, W, C) of any N, H and W. It resizes, crops and normalizes them
        as evaluation with one clip and the center crop does, and gives `logits` and `probabilities`, float32
        (N, classes). The files are compared with the net before the folder appears.

        Args:
            folder: A new or empty folder. It gets model.onnx, labels.txt, input.json (how to feed the net) and, for
                RGB, classify.py, an example.
            pt2: Also write model.pt2, for `torch.export.load`.
            force: Replace the export that the folder contains.

        Returns:
            How much the logits of the files differ from those of the net.

        Raises:
            ValueError: A package is missing, the net cannot be exported, or a file gives other logits than the net.
            OSError: The folder is not empty or cannot be written.
        """
        from actrec.inference import export

        self.require_trained()
        return export.export(self, folder, config.Export(pt2), force=force)

    @checked
    def embed(
        self,
        videos: PathLike | Video | Sequence[PathLike | Video],
        *,
        layer: str | None = None,
        windows: config.Windows | None = None,
    ) -> Embeddings:
        """The features of videos: the input of the net's last layer, averaged over the views.

            found = model.embed(["a.mp4", "b.mp4"])
            print(found.features.shape)  # (2, channels)

        Args:
            videos: A video file, a frame folder or a row of a list, or a sequence of them.
            layer: Name of another module, as `net.named_modules()` gives it. Its output is averaged over all dimensions
                but the channels. Default: for weights without the head's layers, such as an encoder of V-JEPA 2, the
                last layer before these.
            windows: One feature for each window of a video, in place of one for each video.

        Returns:
            Features (N, C), with their videos and times. `missing` names the videos that cannot be used.

        Raises:
            ValueError: There is no such layer, or no video can be used.
        """
        from actrec.inference import embed

        several = [videos] if isinstance(videos, (str, os.PathLike, Video)) else videos
        rows = [v if isinstance(v, Video) else Video.of(v) for v in several]
        unique = list({video.id: video for video in rows}.values())
        found = embed.embed(self, embed.Task(unique, layer or self.feature_layer, windows))
        assert found is not None
        return found

    def make_loader(
        self,
        videos: Sequence[Video],
        *,
        index: Index | None = None,
        cache: Path | None = None,
        protocol: Protocol | None = None,
    ) -> Loader:
        """The loader of all views of the videos, or of this process's share of them.

        Args:
            cache: File of the index, if it is built here.
            protocol: It determines the frames and crops, instead of `clip` and `views`.

        Raises:
            ValueError: As of `actrec.eval_loader`.
        """
        workers = self.loader.workers or dist.cores_of_process()
        if index is None:
            flow = self.clip.modality == "flow"
            index = build_index(videos, cache=cache, lazy=True, flow=flow, template=self.clip.template)
            self._see(index)
        return eval_loader(
            videos,
            self.clip,
            self.input,
            views=self.views if protocol is None else None,
            protocol=protocol,
            fps=self.scoring.fps,
            batch_size=self.batch_size,
            device=self.device,
            index=index,
            rank=dist.rank(),
            world=dist.world(),
            workers=workers,
            prefetch=self.loader.prefetch,
            channels_last=self.channels_last,
            multi_label=self.num_classes if self.multi_label else None,
        )

    def make_sweep(self, video: Video, windows: Windows) -> Sweep:
        """The windows that slide over a video, as `make_loader` gives whole videos. Each frame is decoded once.

        Raises:
            ValueError: As of `actrec.pipelines.sweep.Sweep`.
        """
        sweep = Sweep(
            video,
            windows,
            self.clip,
            self.input,
            views=self.views,
            batch_size=self.batch_size,
            device=self.device,
            prefetch=self.loader.prefetch,
            channels_last=self.channels_last,
            multi_label=self.num_classes if self.multi_label else None,
        )
        self._see(sweep.index)
        return sweep

    def notices(self) -> list[str]:
        """What must be known of the videos that this model was given: missing ends, and samples scaled to 8 bits."""
        return notices(self.seen or [], self.clip.image_range)

    def _see(self, index: Index) -> None:
        if self.seen is not None:
            self.seen.append(index)

    @checked
    def explain(self, path: PathLike, class_: str | int | None = None, *, layer: str | None = None) -> Explanation:
        """Shows where and when a video contains evidence for a class (Grad-CAM, Selvaraju et al. 2017).

            found = model.explain("a.mp4")
            print(found.name, found.maps.shape)  # the predicted class, and (clips, T, size, size) maps in [0, 1]

        The net is not changed.

        Class and probability are those of `predict`, of all views. The maps are those of the central crop of each
        clip.

        Args:
            path: A video file or frame folder.
            class_: The name or number of the class. Default: the predicted one.
            layer: The module of the net whose output is explained (see `grad_cam`). Default: the input of the
                head or, if its map has a single time step or fewer than 4x4 places, the last layer with more, if there
                is one. An earlier layer gives a finer map, which depends less on the class.

        Returns:
            A map for each frame of each clip, and the clips themselves.

        Raises:
            FileNotFoundError: There is no such file or folder.
            ValueError: The video cannot be used, or the net has no such class or layer.
        """
        self.require_trained()
        return explaining.explain(self, _video(path), class_, layer=layer)

    # ---- live sources ----

    @checked
    def stream(
        self,
        source: str,
        *,
        windows: Windows | None = None,
        options: config.Stream | None = None,
        topk: int = 5,
        tell: Callable[[str], None] | None = None,
    ) -> Generator[LivePrediction, None, None]:
        """Predictions for the newest frames of a camera or network stream.

            for found in model.stream("rtsp://camera/stream", windows=actrec.config.Windows(every=0.5)):
                print(found.classes[0], found.probabilities[0], found.latency)

        A window is scored as `evaluate` scores a video of its frames. The first window is scored as soon as it is
        complete. While the net or the caller is busy, frames are still read, and predictions that are due are skipped.
        A prediction therefore always uses the frames that are the newest when it starts.

        Args:
            source: An address that starts with rtsp://, http://, tcp://, udp:// or another one of `LiveSource`; a
                camera, such as /dev/video0 or its number.
            windows: Length of a window, and seconds between predictions.
            options: When a source counts as lost, and when to stop.
            topk: Number of classes; 0: all.
            tell: Called from another thread with a line when the source is lost or back.

        Returns:
            An iterator of predictions. It opens the source at the first one, and closes it when the loop ends.

        Raises:
            ValueError: The source is none of these, was lost or never started, or the net does not fit.
            FileNotFoundError: There is no such camera.
        """
        check_value("topk", topk, int, at_least=0)
        self.require_trained()
        return stream(self, source, windows=windows, options=options, topk=topk, tell=tell)

    @checked
    def probabilities(self, result: Result) -> np.ndarray:
        """The probabilities of the scores of a result.

            result = model.score("val.txt")
            print(model.probabilities(result).sum(axis=1))  # 1 for each video, unless it may have several labels

        Args:
            result: Of `score` or `evaluate`.

        Returns:
            (videos, classes) float64.
        """
        return scores.probabilities(result.scores, multi_label=self.multi_label)

    @checked
    def best_classes(self, result: Result, topk: int = 5) -> list[list[tuple[str, float]]]:
        """The most likely classes of each video of a result, as `predict` returns them.

            result = model.score("val.txt")
            for id_, classes in zip(result.ids, model.best_classes(result, topk=1)):
                print(id_, classes)  # [("jump", 0.93)]

        Args:
            result: Of `score` or `evaluate`.
            topk: Number of classes; 0: all.
        """
        check_value("topk", topk, int, at_least=0)
        names, found = self.class_names, self.probabilities(result)
        return [[(names[c], float(row[c])) for c in order] for row, order in zip(found, best_classes(found, topk))]


@checked
def load(
    path: PathLike,
    *,
    net: str | config.Net | None = None,
    classes: PathLike | Sequence[str] | None = None,
    clip: Clip | Mapping[str, Any] | None = None,
    frame: Frame | None = None,
    views: Views | Mapping[str, Any] | None = None,
    scoring: Scoring | None = None,
    loader: config.Loader | None = None,
    multi_label: bool | None = None,
    device: str = "auto",
) -> Model:
    """Loads a trained net, and the options of its input from its training.

        model = actrec.load("runs/2026-11-28_s3d")
        model.predict("a.mp4")  # [("jump", 0.93), ("run", 0.04), ...]

        same = actrec.load("runs/2026-11-28_s3d/best.pt", views={"clips": 10, "crops": 3})
        other = actrec.load("tiny3d_k400.pt", net="tiny3d", classes="k400.txt")  # weights without a run

    Args:
        path: A run folder (its `best.pt` is loaded), a dataset folder (its newest run), or a checkpoint. With `net`: a
            weights file of any layout that actrec reads.
        net: The net to which the weights belong: its name, or `actrec.config.Net` with its options. A checkpoint of
            actrec that is read as weights keeps everything else that it contains.
        classes: Names of the classes: a file with one name per line, or a sequence. Default: those of the checkpoint;
            weights of other tools have none.
        clip, views: Options of the input, by default those of the training. A mapping changes single fields. With
            weights of other tools, the default is one clip of the net's own length or, for published weights, of the
            frames and stride of their protocol.
        frame: Changes of the frames' size and normalization.
        scoring: The protocol (default: that of published weights; "none" turns it off), what is averaged over the
            views, the arithmetic of the net, and the number of videos in a batch.
        loader: Number of decoding threads, and number of batches that are decoded ahead.
        multi_label: Videos may have several labels. Default: as in training.
        device: cpu, cuda, or auto for the GPU if there is one.

    Raises:
        FileNotFoundError: There is no such file or run.
        ValueError: The file is damaged or not a checkpoint, the weights are those of another net, the number of
            classes differs from the net's, or an option does not fit the net.
    """
    path, chosen = Path(path), torch.device(choose_device(device))
    names = read_labels(classes) if isinstance(classes, (str, os.PathLike)) else classes
    path = _checkpoint_in(path) if net is None else path
    saved, own, own_views = _saved(path, weights=net is not None)
    names = names if names is not None else saved.get("classes")
    frames, size = clip.frames if isinstance(clip, Clip) else (clip or {}).get("frames"), (frame or Frame()).size
    scoring, frame = scoring or Scoring(), frame or Frame()
    choose_protocol = functools.partial(
        protocols.choose,
        path,
        clip=protocols.given_fields(clip),
        views=protocols.given_fields(views),
        frame=frame,
        scoring=scoring,
    )
    accounts: list[Account] = []
    if net is None:
        rule, rule_note, *_ = choose_protocol(None)
        frames = frames or (rule.clip_frames if rule else None)
        if names is None:
            raise OptionError(f"{path}: contains no class names: pass `classes`, such as the file labels.txt")
        with checkpoint.contents_of(path):
            built = checkpoint.build_net(saved)
        built = nets.rebuilt(built, frames=frames, size=size)
    else:
        choice = net if isinstance(net, config.Net) else config.Net(net)
        modality = clip.modality if isinstance(clip, Clip) else (clip or {}).get("modality", own.modality)
        made_for = _made_for(saved, choice.backbone) | nets.clip_options(choice.backbone, frames=frames, size=size)
        found = recognize(path, choice.backbone, **choice.options | made_for)
        guesses = found.guesses
        # A checkpoint of actrec is not a published file.
        rule, rule_note, measured, needed = choose_protocol(
            guesses[0] if guesses and not saved else None, frames_in_name=found.frames
        )
        own = own if saved else replace(own, **measured)
        made_for |= nets.clip_options(
            choice.backbone, frames=measured.get("frames"), size=needed.get("size") if size is None else None
        )
        needed = {name: value for name, value in needed.items() if name not in {"frames", "size", *choice.options}}
        choice = replace(choice, **needed)
        if needed:
            listed = ", ".join(f"{name} {value}" for name, value in needed.items())
            rule_note = "; ".join(filter(None, (rule_note, f"options of the net: {listed}, as such weights need")))
        # If no options fit, building the net raises the error with the reason.
        built = build_net(
            choice,
            num_classes=(guesses[0].num_classes if guesses else None) or len(names or [0]),
            modality=modality,
            **made_for,
            weights=str(path),
            new_head=False,
            receive=accounts.append,
        )
        if saved and modality == own.modality:
            with checkpoint.contents_of(path):
                built.input = checkpoint.input_from(saved["net"]["input"])
    channels_last, own_multi_label = saved.get("channels_last", True), saved.get("multi_label", False)
    own_input = built.input if rule is None else replace(built.input, mean=rule.mean, std=rule.std)
    clip = clip if isinstance(clip, Clip) else replace(own, **(clip or {}))
    model = Model(
        net=move(built, chosen, channels_last=channels_last).eval(),
        input=frame.applied_to(own_input),
        clip=replace(clip, frames=clip.frames or built.input.frames),
        views=views if isinstance(views, Views) else replace(own_views, **(views or {})),
        classes=names,
        scoring=scoring,
        multi_label=own_multi_label if multi_label is None else multi_label,
        channels_last=channels_last,
        device=chosen,
        loader=loader or config.Loader(),
        source=path,
        protocol=rule,
        protocol_note=rule_note,
        weights_note=entry_note(path, accounts[0].entry, accounts[0].others) if accounts else "",
        untrained=untrained(built, accounts[0]) if accounts else (),
        epochs=checkpoint.epochs_of(saved) if net is None else None,
    )
    if names is not None and len(names) != model.num_classes:
        raise ValueError(
            f"{path}: {counted(len(names), 'class name')}, but the net has {counted(model.num_classes, 'class')}"
        )
    return model


def _video(path: PathLike, row: Video | None = None) -> Video:
    """The row for a video file or frame folder, unless there is one already. Raises FileNotFoundError."""
    if is_local(path) and not os.path.exists(path):
        raise FileNotFoundError(f"{os.fspath(path)}: no such file or folder")
    return row or Video.of(path)


def _made_for(saved: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The clips for which the net of a checkpoint was built, as options of this net."""
    if saved.get("net", {}).get("name") != name:
        return {}
    stored = saved["net"]["options"]
    return nets.clip_options(name, frames=stored.get("frames"), size=stored.get("size"))


def _checkpoint_in(path: Path) -> Path:
    """The checkpoint that a path names."""
    if not path.is_dir():
        return path
    if (path / BEST).exists() or not (path / "runs").is_dir():
        return path / BEST
    return best_checkpoint(path, None)


def _saved(path: Path, *, weights: bool) -> tuple[dict[str, Any], Clip, Views]:
    """The content of a checkpoint, its clip and its views.

    Args:
        weights: It may also be a weights file of another tool, which has no content but its tensors.
    """
    try:
        saved = checkpoint.load(path)
    except (checkpoint.ForeignFile, OSError):  # for weights, `recognize` raises the error with the reason
        if not weights:
            raise
        return {}, Clip(), Views()
    with checkpoint.contents_of(path):
        return saved, Clip(**saved["clip"]), Views(crop_ratio=saved.get("crop_ratio", Views.crop_ratio))
