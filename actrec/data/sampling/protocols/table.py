"""The protocols: one row each, grouped by the program that published the numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from actrec.data.sampling.protocols.row import Protocol

KINETICS, SSV1, SSV2 = "Kinetics-400", "Something-Something V1", "Something-Something V2"

IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HARA: dict[str, Any] = {
    "mean": (0.4345, 0.4051, 0.3775),
    "std": (0.2768, 0.2713, 0.2737),
}  # of Kinetics, as Hara measured it
TORCHVISION: dict[str, Any] = {"mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)}
FACEBOOK: dict[str, Any] = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
# Normalized as blue, green, red with ImageNet's values for red, green, blue, and reversed afterwards.
IMAGENET_REVERSED: dict[str, Any] = {"mean": (0.406, 0.456, 0.485), "std": (0.225, 0.224, 0.229)}


def _ibm() -> list[Protocol]:
    k400 = Protocol(
        name="ibm_k400",
        dataset=KINETICS,
        source="IBM/action-recognition-pytorch@67cc96f: utils/video_dataset.py, utils/video_transforms.py, test.py",
        sampling="ibm_dense",
        clip_frames=32,
        stride=2,
        clips=10,
        resize=256,
        kernel="pillow",
        crop=256,
        crop_rule="quarters",
        reduction="logits",
        **IMAGENET,
    )
    ssv2 = replace(k400, name="ibm_ssv2", dataset=SSV2, sampling="ibm_uniform", stride=1, clips=2)
    return [k400, ssv2]


def _hara() -> list[Protocol]:
    center = Protocol(
        name="hara_k_center",
        dataset=KINETICS,
        source="kenshohara/3D-ResNets-PyTorch@540a0ea: temporal_transforms.py, spatial_transforms.py, main.py, mean.py",
        note="Ten crops do not exist in this version: `--inference_crop` is center (the default) or nocrop.",
        sampling="sliding_window",
        clip_frames=16,
        clips=None,
        resize=112,
        kernel="pillow",
        crop=112,
        crop_rule="center",
        reduction="probabilities",
        **HARA,
    )
    whole = replace(center, name="hara_k_nocrop", crop=None, note="`--inference_crop nocrop`: crops are not square.")
    return [center, whole]


def _torchvision() -> list[Protocol]:
    r3d = Protocol(
        name="torchvision_r3d_18",
        dataset=KINETICS,
        source="torchvision 0.28.0: datasets/video_utils.py, datasets/samplers/clip_sampler.py, transforms/_presets.py",
        note="r3d_18, mc3_18 and r2plus1d_18. Videos with less than 16 frames at 15 frames per second are left out.",
        sampling="resampled_windows",
        clip_frames=16,
        clips=5,
        target_fps=15.0,
        resize=(171, 128),
        kernel="torch",
        crop=112,
        crop_rule="center",
        reduction="probabilities",
        **TORCHVISION,
    )
    s3d = replace(
        r3d,
        name="torchvision_s3d",
        note="One clip from the first frame on. Videos with less than 128 frames at 15 frames per second are left out.",
        clip_frames=128,
        clips=1,
        resize=(256, 256),
        crop=224,
    )
    mvit = replace(
        r3d, name="torchvision_mvit", note="mvit_v1_b and mvit_v2_s.", target_fps=7.5, resize=256, crop=224, **FACEBOOK
    )
    swin = replace(
        mvit,
        name="torchvision_swin3d",
        note="swin3d_t, swin3d_s and swin3d_b. Their authors measured them with `videoswin_k400`.",
        clip_frames=32,
        clips=12,
        target_fps=15.0,
        **IMAGENET,
    )
    return [r3d, s3d, mvit, swin]


def _tsm() -> list[Protocol]:
    ten = Protocol(
        name="tsm_k400_8_uniform_10crop",
        dataset=KINETICS,
        source="mit-han-lab/temporal-shift-module@1f6a834: test_models.py, ops/dataset.py, transforms.py, README.md",
        sampling="segment_centers",
        clip_frames=8,
        resize=256,
        kernel="pillow",
        crop=224,
        crop_rule="corners",
        mirrored=True,
        reduction="logits",
        **IMAGENET,
    )
    one = replace(ten, name="tsm_k400_8_uniform_1crop", crop_rule="center", mirrored=False)
    upright = "An upright picture gives three equal crops."
    dense = replace(
        one,
        name="tsm_k400_8_dense_10x3_256",
        note=f"`--dense_sample --test_crops 3 --full_res`. {upright}",
        sampling="ibm_dense",
        stride=8,
        clips=10,
        crop=256,
        crop_rule="across",
    )
    twice = replace(
        dense,
        name="tsm_ssv2_8_2x3_256",
        dataset=SSV2,
        note=f"`--twice_sample --test_crops 3 --full_res`. {upright}",
        sampling="centers_and_starts",
        stride=1,
        clips=2,
    )
    smaller = replace(
        twice,
        name="tsm_ssv2_8_2x3_224",
        note="The command in its README for full resolution, which lacks `--full_res`.",
        crop=224,
    )
    first = [
        replace(one, name="tsm_ssv1_8_uniform_1crop", dataset=SSV1),
        replace(twice, name="tsm_ssv1_8_2x3_256", dataset=SSV1),
    ]

    def sixteen(*rows: Protocol) -> list[Protocol]:
        return [
            replace(row, name=row.name.replace("_8_", "_16_"), clip_frames=16, stride=max(1, row.stride // 2))
            for row in rows
        ]

    kinetics = [ten, one, dense]
    return [*kinetics, *sixteen(*kinetics), *first, *sixteen(*first), twice, *sixteen(twice), smaller]


def _pyslowfast() -> list[Protocol]:
    code = "slowfast/datasets/decoder.py, kinetics.py, transform.py, utils.py"
    fast = Protocol(
        name="pyslowfast_k400_32x2",
        dataset=KINETICS,
        source=f"facebookresearch/SlowFast@287ec00: configs/Kinetics/SLOWFAST_8x8_R50.yaml; {code}",
        note="PySlowFast's default decoder resized frames while it decoded them, with antialiasing. Today's "
        "torchvision has no such decoder.",
        sampling="spans_at_rate",
        clip_frames=32,
        stride=2,
        clips=10,
        target_fps=30.0,
        fps_from="guessed",
        resize=256,
        long_side="floor of ratio",
        kernel="torch-normalized",
        crop=256,
        crop_rule="ceil_thirds",
        reduction="sum of probabilities",
        slow_path="linspace",
        window_average="probabilities",
        **FACEBOOK,
    )

    def single(name: str, config: str, frames: int, stride: int, size: int = 256) -> Protocol:
        source = fast.source.replace("SLOWFAST_8x8_R50", config)
        shape: dict[str, Any] = {"clip_frames": frames, "stride": stride, "resize": size, "crop": size}
        return replace(fast, name=f"pyslowfast_{name}", source=source, slow_path=None, **shape)

    def mvit(name: str, config: str, frames: int, stride: int) -> Protocol:
        row = replace(single(name, config, frames, stride), sampling="spans_at_rate_to_end", clips=5)
        return replace(row, crop=224, crop_rule="ceil_center", window_average=None)

    long = mvit("mvit_32x3", "MVIT_B_32x3_CONV", 32, 3)
    large = mvit("mvitv2_l_40x3", "MVITv2_L_40x3_test", 40, 3)
    small = replace(
        mvit("mvit_16x4", "MVIT_B_16x4_CONV", 16, 4),
        note="MVIT_B_16x4_CONV.yaml does not set the number of clips, and the default is 10. MODEL_ZOO.md says 5.",
    )
    kinetics = [
        fast,
        single("k400_8x8", "SLOW_8x8_R50", 8, 8),
        single("k400_4x16", "SLOW_4x16_R50", 4, 16),
        single("k400_16x4", "pytorchvideo/R2PLUS1D_16x4_R50", 16, 4),
        replace(single("k400_64x2", "pytorchvideo/SLOWFAST_16x8_R101_50_50", 64, 2), slow_path="linspace"),
        single("x3d_xs", "X3D_XS", 4, 12, 182),
        single("x3d_s", "X3D_S", 13, 6, 182),
        single("x3d_m", "X3D_M", 16, 5),
        single("x3d_l", "X3D_L", 16, 5, 356),
        small,
        long,
        replace(
            long,
            name="pyslowfast_k600_mvit_32x3",
            dataset="Kinetics-600",
            note=f"The configuration is that of Kinetics-400, with 600 classes. {fast.note}",
        ),
        replace(large, resize=312, crop=312, crop_rule="ceil_thirds", **IMAGENET),
    ]

    images = "The program reads images that FFmpeg extracted at 30 frames per second (`-r 30 -q:v 1`)."

    def something(name: str, config: str, frames: int, size: int) -> Protocol:
        return replace(
            fast,
            name=f"pyslowfast_ssv2_{name}",
            dataset=SSV2,
            source=f"facebookresearch/SlowFast@287ec00: configs/SSv2/{config}.yaml; slowfast/datasets/ssv2.py",
            note=images,
            sampling="segment_middles",
            clip_frames=frames,
            stride=1,
            clips=1,
            target_fps=None,
            fps_from="average",
            resize=size,
            crop=size,
            slow_path=None,
            window_average=None,
        )

    def of_pytorchvideo(name: str, config: str, frames: int) -> Protocol:
        row = something(name, f"pytorchvideo/{config}", frames, 256)
        reader = "facebookresearch/pytorchvideo@f3142bb: pytorchvideo/data/ssv2.py, transforms/functional.py"
        source = f"{row.source.replace('/ssv2.py', '/ptv_datasets.py')}; {reader}"
        return replace(row, source=source, window_average="probabilities")

    return [
        *kinetics,
        something("mvit_16", "MVITv2_S_16x4", 16, 224),
        something("mvit_32", "MVITv2_B_32x3", 32, 224),
        replace(
            something("mvitv2_l_40", "MVITv2_L_40x3", 40, 312),
            note=f"ImageNet's mean and std for red, green, blue are applied to blue, green, red. {images}",
            **IMAGENET_REVERSED,
        ),
        of_pytorchvideo("slow_8", "SLOW_8x8_R50", 8),
        replace(of_pytorchvideo("slowfast_32", "SLOWFAST_8x8_R50", 32), slow_path="linspace"),
        replace(
            something("slowfast_64_1crop", "SLOWFAST_16x8_R50", 64, 256),
            note=f"The only crop is the left or top one, not the center. {images}",
            crop_rule="first",
            slow_path="linspace",
            window_average="probabilities",
        ),
    ]


def _mmaction2() -> list[Protocol]:
    code = "mmaction/datasets/transforms/loading.py, processing.py; models/heads/base.py"

    def row(name: str, config: str, like: Protocol, **changed: Any) -> Protocol:
        source = f"open-mmlab/mmaction2@4d6c934: configs/recognition/{config}.py; {code}"
        return replace(like, name=f"mmaction2_{name}", source=source, **changed)

    base = Protocol(
        name="",
        dataset=KINETICS,
        source="",
        sampling="segment_centers",
        clip_frames=25,
        resize=256,
        long_side="rounded",
        kernel="opencv",
        crop=224,
        crop_rule="corners",
        mirrored=True,
        reduction="probabilities",
        **IMAGENET,
    )
    tsn = "The net averages the features of all segments and crops before its last layer: the mean of logits."
    tsm = "tsm/tsm_imagenet-pretrained-r50_8xb16"
    ten = row("tsm_k400_8", f"{tsm}-1x1x8-50e_kinetics400-rgb", base, clip_frames=8)
    three = row(
        "tsm_k400_8_three",
        "tsm/tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb",
        replace(ten, crop=256, crop_rule="halves", mirrored=False),
    )
    twice = replace(three, dataset=SSV2, sampling="centers_and_starts", clips=2)
    strided = replace(three, sampling="looped_edge_to_edge")
    return [
        row(
            "tsn_k400",
            "tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb",
            base,
            reduction="logits",
            note=tsn,
        ),
        row(
            "tsn_ssv2",
            "tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x8-50e_sthv2-rgb",
            base,
            reduction="logits",
            note=tsn,
            dataset=SSV2,
        ),
        ten,
        row("tsm_k400_16", f"{tsm}-1x1x16-50e_kinetics400-rgb", ten, clip_frames=16),
        three,
        row(
            "tsm_k400_8_dense",
            f"{tsm}-dense-1x1x8-50e_kinetics400-rgb",
            ten,
            sampling="ibm_dense",
            stride=8,
            clips=10,
        ),
        row(
            "tsn_k400_dense",
            "tsn/tsn_imagenet-pretrained-r50_8xb32-dense-1x1x5-100e_kinetics400-rgb",
            base,
            sampling="dense_in_64",
            stride=2,
            clips=10,
            crop_rule="floor_center",
            mirrored=False,
            reduction="logits",
            note="The README states 25 clips x 10 crops. The configuration has 10 clips of 25 frames and one crop.",
        ),
        row("tsm_ssv2_8", f"{tsm}-1x1x8-50e_sthv2-rgb", twice),
        row("tsm_ssv2_16", f"{tsm}-1x1x16-50e_sthv2-rgb", twice, clip_frames=16),
        row(
            "32x2x10",
            "i3d/i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb",
            strided,
            clip_frames=32,
            stride=2,
            clips=10,
            slow_path="stride",
            note="I3D and R(2+1)D with 32 frames, and SlowFast. The old zoo (0.x) placed clips in the middle of parts.",
        ),
        row(
            "32x2x10_dense",
            "i3d/i3d_imagenet-pretrained-r50_8xb8-dense-32x2x1-100e_kinetics400-rgb",
            strided,
            sampling="ibm_dense",
            clip_frames=32,
            stride=2,
            clips=10,
        ),
        row(
            "8x8x10",
            "r2plus1d/r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb",
            strided,
            clip_frames=8,
            stride=8,
            clips=10,
            note="R(2+1)D and SlowOnly with 8 frames.",
        ),
        row(
            "4x16x10",
            "slowonly/slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb",
            strided,
            clip_frames=4,
            stride=16,
            clips=10,
            note="SlowOnly with 4 frames.",
        ),
        row(
            "videomae_k400",
            "videomae/vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400",
            strided,
            clip_frames=16,
            stride=4,
            clips=5,
            resize=224,
            crop=224,
            note="",
        ),
    ]


def _videoswin() -> list[Protocol]:
    repository = "SwinTransformer/Video-Swin-Transformer@db018fb"
    pipelines = "mmaction/datasets/pipelines/loading.py"
    k400 = Protocol(
        name="videoswin_k400",
        dataset=KINETICS,
        source=f"{repository}: configs/recognition/swin/swin_tiny_patch244_window877_kinetics400_1k.py, {pipelines}",
        note="The protocol of the authors. torchvision measured its weights with `torchvision_swin3d`.",
        sampling="looped_in_parts",
        clip_frames=32,
        stride=2,
        clips=4,
        resize=224,
        long_side="rounded",
        kernel="opencv",
        crop=224,
        crop_rule="halves",
        reduction="probabilities",
        **IMAGENET,
    )
    ssv2 = replace(
        k400,
        name="videoswin_ssv2",
        dataset=SSV2,
        source=f"{repository}: configs/recognition/swin/swin_base_patch244_window1677_sthv2.py, {pipelines}",
        note="",
        sampling="segment_middles",
        stride=1,
        clips=1,
    )
    k600 = replace(
        k400,
        name="videoswin_k600",
        dataset="Kinetics-600",
        source=f"{repository}: configs/recognition/swin/swin_base_patch244_window877_kinetics600_22k.py, {pipelines}",
        note="",
    )
    return [k400, k600, ssv2]


def _videomae() -> list[Protocol]:
    code = "video_transforms.py, functional.py, engine_for_finetuning.py"
    k400 = Protocol(
        name="videomae_k400",
        dataset=KINETICS,
        source=f"MCG-NJU/VideoMAE@14ef8d8: kinetics.py, {code}",
        note="VideoMAE v2 (OpenGVLab/VideoMAEv2@29eab1e) has the same code.",
        sampling="every_nth_padded",
        clip_frames=16,
        stride=4,
        clips=5,
        resize=224,
        kernel="opencv",
        crop=224,
        crop_rule="truncated_steps",
        reduction="probabilities",
        **IMAGENET,
    )
    ssv2 = replace(
        k400,
        name="videomae_ssv2",
        dataset=SSV2,
        source=f"MCG-NJU/VideoMAE@14ef8d8: ssv2.py, {code}",
        note="",
        sampling="sorted_centers_and_starts",
        stride=1,
        clips=2,
    )
    return [k400, ssv2]


def _vjepa2() -> list[Protocol]:
    code = "src/datasets/video_dataset.py, evals/video_classification_frozen/utils.py, eval.py"

    def row(
        name: str, config: str, *, size: int, clips: int, frames: int = 16, stride: int = 4, of: str = "vjepa2@c2963a4"
    ) -> Protocol:
        return Protocol(
            name=name,
            dataset=KINETICS if name.endswith("k400") else SSV2,
            source=f"facebookresearch/{of}: configs/{config}.yaml, {code}",
            note="In long videos, the program draws the start of a clip at random. Here a clip starts with its part.",
            sampling="parts_or_overlap",
            clip_frames=frames,
            stride=stride,
            clips=clips,
            resize=size,
            kernel="opencv",
            crop=size,
            crop_rule="whole_steps",
            reduction="probabilities",
            joins_clips=True,
            **IMAGENET,
        )

    older = partial(row, of="jepa@51c59d5")
    return [
        row("vjepa2_vitl_k400", "eval/vitl/k400", size=256, clips=8),
        row("vjepa2_vitl_ssv2", "eval/vitl/ssv2", size=256, clips=2),
        row("vjepa2_vitg384_k400", "eval/vitg-384/k400", size=384, clips=8),
        row("vjepa2_vitg384_ssv2", "eval/vitg-384/ssv2", size=384, clips=2, frames=64, stride=2),
        older("vjepa_224_k400", "evals/vitl16_k400_16x8x3", size=224, clips=8),
        older("vjepa_224_ssv2", "evals/vitl16_ssv2_16x2x3", size=224, clips=2),
        older("vjepa_384_k400", "evals/vith16_384_k400_16x8x3", size=384, clips=8),
        older("vjepa_384_ssv2", "evals/vith16_384_ssv2_16x2x3", size=384, clips=2),
    ]


PROTOCOLS: dict[str, Protocol] = {
    row.name: row
    for rows in (_ibm, _hara, _torchvision, _pyslowfast, _mmaction2, _tsm, _videoswin, _videomae, _vjepa2)
    for row in rows()
}
