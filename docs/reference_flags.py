"""What the flags of the reference programs are called here. Writes docs/from_ibm.md and docs/from_hara.md.

    python docs/reference_flags.py

In the texts a flag of actrec always stands behind its command (`train --lr`), and tests/test_reference_flags.py looks each
of them up. A flag that stands alone is one of the old program. A row is a line, as in the pages.
"""
# ruff: noqa: E501

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

NONE = "not offered"


class Flag(NamedTuple):
    """A flag of an old program.

    Args:
        old: as it was typed.
        default: of the old program.
        new: commands and flags of actrec, or why there is none.
        remark: what is different.
    """

    old: str
    default: str
    new: str
    remark: str = ""


_TORCHRUN = "started by `torchrun`"
_GPUS = "`CUDA_VISIBLE_DEVICES` chooses among several GPUs."

IBM = (
    Flag("--backbone_net", "s3d", "`train --backbone`", "`s3d`, `i3d`; `s3d_resnet` and `i3d_resnet` with the depth behind them; `resnet` is `tsn_resnet50` or `tam_resnet50`, `inception_v1` is `tsn_inception_v1` or `tam_inception_v1`."),
    Flag("-d, --depth", "18", "`train --backbone i3d_resnet50`", "Part of the net's name."),
    Flag("--dropout", "0.5", "`train --dropout`", "These nets' own default is 0.5."),
    Flag("--groups", "16", "`train --frames`", "Default: the net's own, 16 of `s3d`, `i3d` and Inception, 8 of the ResNets."),
    Flag("--frames_per_group", "1", "`train --sampling dense --stride 2`", "Dense sampling only. Uniform sampling takes one frame of each segment; several are in the library only (`actrec.samplers.uniform(per_segment=2)`): the reference itself trained on them and validated without."),
    Flag("--without_t_stride", "off", "`train --no-temporal-stride`", "The stride is on by default there and here."),
    Flag("--pooling_method", "max", "`train --temporal-pool avg`", "Of `s3d`, `i3d` and the image nets. Others refuse it; the reference ignored it there."),
    Flag("--dw_t_conv", "off", "`train --depthwise-temporal`"),
    Flag("--temporal_module_name", "none", "`train --backbone tam_resnet50`", "Part of the net's name: none and TSN are `tsn_…`, TAM is `tam_…`."),
    Flag("--blending_frames", "3", "`train --blending-frames`"),
    Flag("--blending_method", "sum", "`train --blending max`"),
    Flag("--no_dw_conv", "off", "`train --no-depthwise-blending`"),
    Flag("--gpu", "none", "`train --device cuda`, `evaluate --device cuda`", f"One GPU, if there is one, is the default. {_GPUS}"),
    Flag("--disable_cudnn_benchmark", "off", "`train --no-cudnn-benchmark`"),
    Flag("-b, --batch-size", "256", "`train --batch-size 256 --keep-last`", "Default 16; of all processes together there and here. The incomplete last batch is left out by default, the reference took it. `evaluate --batch-size` counts videos."),
    Flag("--lr, --learning-rate", "0.01", "`train --lr 0.01`", "The same default."),
    Flag("--lr_scheduler", "cosine", "`train --schedule cosine`", "`multisteps` is `multistep`; `step` and `plateau` keep their names. Each changes the learning rate once an epoch."),
    Flag("--lr_steps", "15 30 45", "`train --lr-steps 15,30,45`", "The same default; with commas. They belong to `step`, which repeats the first, and `multistep`."),
    Flag("--momentum", "0.9", "`train --momentum 0.9`", "The same default."),
    Flag("--nesterov", "off", "`train --nesterov`"),
    Flag("--weight-decay, --wd", "5e-4", "`train --weight-decay 5e-4`", "The same default, of all parameters; `train --no-norm-decay` spares norms and biases."),
    Flag("--epochs", "50", "`train --epochs 50`", "The same default."),
    Flag("--resume", "none", "`train --run RUN --resume`", "Takes the run folder, not a file, and goes on within an epoch, too. A checkpoint of the reference gives its weights only: `train --weights`."),
    Flag("--pretrained", "none", "`train --weights`, `evaluate --weights`", "With or without `module.`; a tensor that does not fit is an error, where the reference passed over it in silence. `train --new-head` for other classes."),
    Flag("--start-epoch", "0", NONE, "A run that is continued knows where it is; a new one begins at the first epoch."),
    Flag("--clip_gradient, --cg", "none", "`train --clip-gradient`", "The total norm, there and here."),
    Flag("--no_imagenet_pretrained", "off", "`train --weights resnet50.pth --new-head`", "The other way round: nothing is downloaded, nets begin with fresh weights unless a file of torchvision's ImageNet weights is given. 3D nets divide the repeated kernels by their length, which the reference did not."),
    Flag("-j, --workers", "18", "`train --workers`, `evaluate --workers`", "Threads, not processes; default: one per core."),
    Flag("--datadir", "required", "`train --data`, `evaluate --data`", "Paths in a list start from the list's folder."),
    Flag("--dataset", "st2stv2", "`train --list --val-list`", "There is no table of datasets: the lists, and `labels.txt` beside them, say what there is. Default: `train.txt` and `val.txt`; so the mini sets' `mini_train.txt` needs the flags. Short videos are left out when the lists are made: `lists kinetics400 --probe --min-frames 30`."),
    Flag("--threed_data", "off", NONE, "Not needed: every net takes clips, and image nets fold them themselves."),
    Flag("--input_size", "224", "`train --size`, `evaluate --size`", "Default: the net's own, 224."),
    Flag("--disable_scaleup", "off", "`train --crop-ratio 1`, `evaluate --crop-ratio 1`", "The crop is 0.875 of the resized short side by default, as in the reference. What validation took, `evaluate` takes too."),
    Flag("--random_sampling", "off", NONE, "Evaluation is deterministic."),
    Flag("--dense_sampling", "off", "`train --sampling dense`, `evaluate --sampling dense`", "A checkpoint of actrec knows it."),
    Flag("--augmentor_ver", "v1", "`train --geometry multiscale`", "v1, the default there and here; v2 is `train --geometry jitter`."),
    Flag("--scale_range", "256 320", "`train --geometry jitter --short-sides 256,320`", "The same default; with a comma."),
    Flag("--modality", "rgb", "`train --modality flow`", "Nets take flow here; in the reference only the data code did."),
    Flag("--mean", "the net's", "`train --mean 0.485,0.456,0.406`", "With commas; `evaluate --mean`, likewise. The nets' own values are the reference's."),
    Flag("--std", "the net's", "`train --std 0.229,0.224,0.225`", "Likewise."),
    Flag("--logdir", "''", "`train --run`", "Default: `runs/<date>_<net>` in the dataset folder; the name does not spell out the options, `config.json` in it does, and `actrec runs compare` shows which differ."),
    Flag("--print-freq", "100", "`train --log-every 100`", "Default 10: rows of `steps.jsonl`."),
    Flag("--show_model", "off", "`nets`", "`actrec nets NAME`: parameters, FLOPs, input, options; the layers are printed by `python -c \"import actrec; print(actrec.net('s3d'))\"`."),
    Flag("-e, --evaluate", "off", "`evaluate`", "Without -e the reference scored the test list: `evaluate --list test.txt`."),
    Flag("--num_crops", "1", "`evaluate --crops 3`", "1, 3, 5, 10. The outer crops touch the border; `evaluate --crop-rule ibm` puts them where the reference did, up to 3 pixels inside."),
    Flag("--num_clips", "1", "`evaluate --clips 10`", "Of uniform sampling the clips interleave; `evaluate --sampling-rule ibm` shifts them by single frames as the reference did. Validation while training takes one clip, whatever is given here."),
    Flag("--sync-bn", "off", "`train --sync-bn`"),
    Flag("--world-size", "1", _TORCHRUN, "`--nnodes` of torchrun."),
    Flag("--rank", "0", _TORCHRUN, "`--node-rank` of torchrun."),
    Flag("--dist-url", "tcp://127.0.0.1:23456", _TORCHRUN, "`--master-addr` and `--master-port`, or `--rdzv-endpoint`, of torchrun."),
    Flag("--dist-backend", "nccl", NONE, "NCCL between GPUs, gloo between CPUs."),
    Flag("--multiprocessing-distributed", "off", _TORCHRUN, "One process per GPU: `--nproc-per-node 8` of torchrun. Without it one GPU is used: there is no DataParallel."),
)  # fmt: skip

_PATHS = "Paths in a list start from the list's folder, or are absolute."
_CONVERTED = "`actrec lists convert`, see [lists](#lists); the classes' names are in `labels.txt`."
_CLASSES = "As many as `labels.txt` has names."
_DENSE = "Consecutive frames are `train --sampling dense`; the default is uniform sampling."
_MILESTONES = "The learning rate is multiplied by `train --gamma 0.1`, the same default."

HARA_PYTORCH = (
    Flag("--root_path", "none", "`train --data`", _PATHS),
    Flag("--video_path", "none", "`lists convert --root`", _PATHS),
    Flag("--annotation_path", "none", "`train --list --val-list`", _CONVERTED),
    Flag("--result_path", "none", "`train --run`, `evaluate --out`", "Default: `runs/<date>_<net>`, and `scores/` in it."),
    Flag("--dataset", "kinetics", "`train --list --val-list`", "The lists say which."),
    Flag("--n_classes", "400", NONE, _CLASSES),
    Flag("--n_pretrain_classes", "0", NONE, "The weights file says so itself; `train --new-head` where they are others."),
    Flag("--pretrain_path", "none", "`train --weights FILE --new-head`", "Hara's `.pth` files are read, with or without `module.`; `actrec weights inspect FILE` says which net one is of."),
    Flag("--ft_begin_module", "'' (all)", "`train --freeze-until layer4`", "A layer of the net, such as `layer4` or `fc` (DenseNet's `classifier` is `fc`). Batch norms before it keep their statistics; the reference's went on."),
    Flag("--sample_size", "112", "`train --size`, `evaluate --size`", "Default: the net's own, 112 of the 3D ResNets."),
    Flag("--sample_duration", "16", "`train --sampling dense --frames 16`", f"Default: the net's own, 16. {_DENSE}"),
    Flag("--sample_t_stride", "1", "`train --sampling dense --stride 2`", "It holds in validation and evaluation, too; the reference lost it there."),
    Flag("--train_crop", "random", "`train --geometry random-resized`", "`corner` is `train --geometry corner --scales 1,0.8409,0.7071,0.5946,0.5`, `center` is `train --geometry center`. The default here is `multiscale`."),
    Flag("--train_crop_min_scale", "0.25", "`train --geometry random-resized --area 0.25,1`", "The same default."),
    Flag("--train_crop_min_ratio", "0.75", "`train --geometry random-resized --aspect 0.75,1.3333`", "The same default; both ends are given."),
    Flag("--no_hflip", "off", "`train --no-flip`"),
    Flag("--colorjitter", "off", "`train --color-jitter 0.4,0.4,0.4,0.1`", "The reference's changed nothing: its strengths were all zero."),
    Flag("--train_t_crop", "random", "`train --clip-position center`", "`center` is `center`. A video that is shorter than the clip repeats its last frame here, and was begun again there."),
    Flag("--learning_rate", "0.1", "`train --lr 0.1`", "Default 0.01."),
    Flag("--momentum", "0.9", "`train --momentum 0.9`", "The same default."),
    Flag("--dampening", "0.0", "`train --dampening`", "The same default. With Nesterov's momentum it is refused; the reference made it 0."),
    Flag("--weight_decay", "1e-3", "`train --weight-decay 1e-3`", "Default 5e-4."),
    Flag("--nesterov", "off", "`train --nesterov`"),
    Flag("--optimizer", "sgd", "`train --optimizer sgd`", "Also `adamw`; the reference had SGD only."),
    Flag("--mean_dataset", "kinetics", "`train --mean 0.4345,0.4051,0.3775 --std 0.2768,0.2713,0.2737`", "The default of the 3D ResNets. `activitynet` is `train --mean 0.4477,0.4209,0.3906 --std 0.2767,0.2695,0.2714`, `0.5` is `train --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5`. A checkpoint of actrec keeps them; weights of others need `evaluate --mean --std`."),
    Flag("--no_mean_norm", "off", "`train --mean 0,0,0`"),
    Flag("--no_std_norm", "off", "`train --std 1,1,1`"),
    Flag("--value_scale", "1", NONE, "Mean and standard deviation were scaled with it, so it changes nothing, but for --no_std_norm: values up to 255 without a deviation are `train --std 0.00392157,0.00392157,0.00392157`."),
    Flag("--lr_scheduler", "multistep", "`train --schedule multistep`", "Or `plateau`. The default here is cosine."),
    Flag("--multistep_milestones", "50 100 150", "`train --schedule multistep --lr-steps 50,100,150`", _MILESTONES),
    Flag("--overwrite_milestones", "off", NONE, "A run is continued with the options that it was begun with; a new one can begin from its weights."),
    Flag("--plateau_patience", "10", "`train --schedule plateau --patience 10`", "The same default."),
    Flag("--batch_size", "128", "`train --batch-size 128`", "Default 16, of all processes together."),
    Flag("--inference_batch_size", "0", "`evaluate --batch-size`", "Videos, too. Default: as many as make 32 views."),
    Flag("--batchnorm_sync", "off", "`train --sync-bn`"),
    Flag("--n_epochs", "200", "`train --epochs 200`", "Default 50."),
    Flag("--n_val_samples", "3", "`evaluate --clips 3`", "Validation while training scores one clip of each video, the middle one of dense sampling; the reference counted each of up to three clips. Its rule is in the library: `actrec.samplers.even_crop`."),
    Flag("--resume_path", "none", "`train --run RUN --resume`", "Takes the run folder, not a file. Of the reference's checkpoints the weights are read: `train --weights`."),
    Flag("--no_train", "off", "`evaluate`", "A command of its own."),
    Flag("--no_val", "off", "`train --list train.txt`", "With --list and without --val-list nothing is validated."),
    Flag("--inference", "off", "`evaluate`", "A command of its own."),
    Flag("--inference_subset", "val", "`evaluate --list val.txt`", "Any list; without labels it is scored all the same."),
    Flag("--inference_stride", "16", "`evaluate --clips 10`", "So many clips, spread over the video, not one every so many frames; the reference's rule is in the library: `actrec.samplers.sliding_window`."),
    Flag("--inference_crop", "center", "`train --crop-ratio 1`, `evaluate --crop-ratio 1`", "The default ratio is 0.875. `nocrop` is not offered, as nets are fed squares; `evaluate --crops 3 --crop-ratio 1` covers most of a wide picture."),
    Flag("--inference_no_average", "off", NONE, "A video has one score, averaged over its clips. Segments of a list are rows, each with a score of its own."),
    Flag("--no_cuda", "off", "`train --device cpu`, `evaluate --device cpu`"),
    Flag("--n_threads", "4", "`train --workers`, `evaluate --workers`", "Threads indeed; default: one per core."),
    Flag("--checkpoint", "10", "`train --keep-every 10`", "As `epoch_<n>.pt`. The last and the best epoch are always kept."),
    Flag("--model", "resnet", "`train --backbone resnet3d_18`", "With the depth: `resnet` is `resnet3d_…`, `resnet2p1d` is `resnet2p1d_…`, `preresnet` is `preact_resnet3d_…`, `wideresnet` is `wide_resnet3d_…`, `resnext` is `resnext3d_…`, `densenet` is `densenet3d_…`."),
    Flag("--model_depth", "18", "`train --backbone resnet3d_50`", "Part of the net's name."),
    Flag("--conv1_t_size", "7", "`train --stem-kernel-t 7`", "The same default."),
    Flag("--conv1_t_stride", "1", "`train --stem-stride-t 1`", "The same default."),
    Flag("--no_max_pool", "off", "`train --no-stem-pool`"),
    Flag("--resnet_shortcut", "B", "`train --shortcut A`", "The same default. Gradients pass type A here; the reference cut them off."),
    Flag("--resnet_widen_factor", "1.0", "`train --widen 1.0`", "The same default."),
    Flag("--wide_resnet_k", "2", "`train --backbone wide_resnet3d_50 --widen 2`", "The same default."),
    Flag("--resnext_cardinality", "32", "`train --backbone resnext3d_101 --cardinality 32`", "The same default."),
    Flag("--input_type", "rgb", "`train --modality flow`", "Flow comes from JPEGs (`actrec extract-flow`), five consecutive x and y to a frame of a clip; the reference took one x and y, from HDF5."),
    Flag("--manual_seed", "1", "`train --seed 1`", "Default 0."),
    Flag("--accimage", "off", NONE, "JPEGs are decoded by OpenCV in threads, or by the GPU."),
    Flag("--output_topk", "5", "`evaluate --topk-json FILE --topk 5`", "The same default; 0 is all."),
    Flag("--file_type", "jpg", NONE, "Folders of images and video files are both read, whichever a list names. HDF5 is not: it takes a library of its own, which lets one thread read at a time. Unpack it, or go back to the videos."),
    Flag("--tensorboard", "off", "`train --no-tensorboard`", "On by default here."),
    Flag("--distributed", "off", _TORCHRUN, "One process per GPU: `--nproc-per-node 8` of torchrun."),
    Flag("--dist_url", "tcp://127.0.0.1:23456", _TORCHRUN, "`--master-addr` and `--master-port` of torchrun."),
    Flag("--world_size", "-1", _TORCHRUN, "`--nnodes` of torchrun."),
)  # fmt: skip

HARA_LUA = (
    Flag("--root_path", "none", "`train --data`", _PATHS),
    Flag("--video_path", "none", "`lists convert --root`", _PATHS),
    Flag("--annotation_path", "none", "`train --list --val-list`", _CONVERTED),
    Flag("--result_path", "results", "`train --run`, `evaluate --out`", "Default: `runs/<date>_<net>`, and `scores/` in it."),
    Flag("--premodel_path", "none", NONE, "Torch7's `.t7` files are not read: they hold objects of Lua. Hara published the nets for PyTorch, too, and those are read: `train --weights`."),
    Flag("--bgr_premodel", "off", NONE, "It swaps the colors of a `.t7` file's first convolution, and those files are not read."),
    Flag("--dataset", "activitynet", "`train --list --val-list`", "The lists say which."),
    Flag("--lr_path", "none", "`train --schedule multistep --lr 0.1 --lr-steps 100,150 --weight-decay 1e-3`", "This is the regime of the ResNets; that of C3D is `train --schedule multistep --lr 0.001 --lr-steps 85,130 --weight-decay 1e-3`. A weight decay for each part of a regime is not offered: in the published ones it is the same throughout."),
    Flag("--n_classes", "200", NONE, _CLASSES),
    Flag("--sample_size", "112", "`train --size`, `evaluate --size`", "Default: the net's own, 112."),
    Flag("--sample_duration", "16", "`train --sampling dense --frames 16`", f"Default: the net's own, 16. {_DENSE} Shorter videos repeat their last frame here; the reference left them out of validation and test."),
    Flag("--initial_scale", "1.0", "`train --geometry corner --scales 1,0.8409,0.7071,0.5946,0.5`", "The scales themselves are given: these are the reference's."),
    Flag("--n_scales", "5", "`train --geometry corner --scales 1,0.8409,0.7071,0.5946,0.5`", "Likewise."),
    Flag("--scale_step", "0.84089641525", "`train --geometry corner --scales 1,0.8409,0.7071,0.5946,0.5`", "Likewise."),
    Flag("--learning_rate", "1e-3", "`train --lr 0.001`", "Default 0.01. In the reference the regime of --lr_path overrode it."),
    Flag("--weight_decay", "0", "`train --weight-decay 0`", "Default 5e-4. In the reference the regime overrode it."),
    Flag("--momentum", "0.9", "`train --momentum 0.9 --dampening 0.9`", "Torch7's SGD dampens by the momentum if nothing else is said; the default here is no dampening."),
    Flag("--dropout_ratio", "0.5", "`train --backbone c3d --dropout 0.5`", "The same default."),
    Flag("--batch_size", "40", "`train --batch-size 40`", "Default 16. Incomplete batches are left out there and here."),
    Flag("--n_epochs", "1000", "`train --epochs 1000`", "Default 50."),
    Flag("--begin_epoch", "1", "`train --run RUN --resume`", "With the optimizer's state, which the reference did not keep."),
    Flag("--n_val_samples", "3", "`evaluate --clips 3`", "Validation while training scores one clip of each video."),
    Flag("--no_train", "off", "`evaluate`", "A command of its own."),
    Flag("--no_val", "off", "`train --list train.txt`", "With --list and without --val-list nothing is validated."),
    Flag("--test_video", "off", "`evaluate --clips 10 --crop-ratio 1 --topk-json FILE --topk 10`", "So many clips, spread over the video, in place of all that do not overlap. The reference averaged logarithms of probabilities, which ranks the classes as the average of logits does, the default here."),
    Flag("--test_subset", "val", "`evaluate --list val.txt`", "Any list."),
    Flag("--no_cuda", "off", "`train --device cpu`, `evaluate --device cpu`"),
    Flag("--gpu_id", "1", "`train --device cuda`", f"{_GPUS} It counts from 0."),
    Flag("--n_gpus", "2", _TORCHRUN, "One process per GPU: `--nproc-per-node 2` of torchrun."),
    Flag("--n_threads", "4", "`train --workers`, `evaluate --workers`", "Default: one per core."),
    Flag("--checkpoint", "10", "`train --keep-every 10`", "As `epoch_<n>.pt`. The last and the best epoch are always kept."),
    Flag("--manual_seed", "0", "`train --seed 0`", "The same default."),
    Flag("--crop", "c", "`train --geometry corner`", "`r`, a square of one of the scales anywhere, is not offered; the nearest is `train --geometry random-resized --aspect 1,1`, of any scale."),
    Flag("--no_hflip", "off", "`train --no-flip`"),
    Flag("--model", "c3d", "`train --backbone c3d`", "Or `resnet3d_…`."),
    Flag("--batch_norm", "off", "`train --backbone c3d --batch-norm`"),
    Flag("--global_pooling", "off", "`train --backbone c3d --global-pooling`"),
    Flag("--resnet_depth", "18", "`train --backbone resnet3d_18`", "Part of the net's name."),
    Flag("--shortcut_type", "A", "`train --shortcut A`", "Default B. `C`, a convolution in every shortcut, is not offered: it fits no published weights that are read here."),
    Flag("--weight_init", "off", NONE, "Convolutions always begin as He et al. (2015) have it."),
    Flag("--freeze_params", "0", "`train --freeze-until fc`", "Named by a layer, not by how many are left."),
)  # fmt: skip

_HEAD = "<!-- Made by docs/reference_flags.py, which a test compares with this file. -->"
_READING = """\
A flag behind a command is actrec's, one that stands alone is the old program's. Every old flag is here; "not offered" says
why there is none. `actrec COMMAND --help` has all flags."""

_IBM_PAGE = """\
# From IBM's action-recognition-pytorch

{head}

{reading}

## Flags

{table}

## Preprocessing scripts

| old | actrec |
|---|---|
| Kinetics: `-i` and `-o` | `actrec extract-frames SRC DST`, with lists of `actrec lists kinetics400` as its split |
| `-s 256`, Something-Something's 256 | `extract-frames --short-side 256 --upscale`; 256 is the default, and small videos stay as they are by default |
| `-s 340 256` | `extract-frames --resize 340x256` |
| Moments: no resizing | `extract-frames --short-side 100000`, which no video reaches |
| `-p` | `extract-frames --workers`, or `extract-frames --cluster` for several machines |
| `-n 400`, `-n 600` | `lists kinetics400`, `lists kinetics600` |
| `--do-test-set` | `lists kinetics400` writes `test.txt` where the annotations have such a part |
| Something-Something, Moments | `lists ssv2`, `lists moments` |
| the class names of the mini sets | `lists mini-kinetics`, `lists mini-ssv2`; `lists mini-moments --classes FILE` |
| what could not be extracted | `failed.csv`; what is not there: `missing.csv` |

    actrec lists kinetics400 annotations --videos k400/videos --out k400
    actrec extract-frames k400/videos k400 --upscale

Frames need not be extracted: `train` reads the videos. `actrec prepare` makes them small and fast to decode.

## Lists

Lists of the reference are read as they are: `folder start end label` with blanks or `;`, images counted from 1, both ends
included. Paths start from the list's folder, as in the reference, whose lists lie in `--datadir`; lists from elsewhere are
converted:

    actrec lists convert train.txt new --from ibm --part train --root DATADIR --to-root new

Lists without labels are scored by `evaluate --list test.txt`. A row may have several labels (`train --multi-label`), and a
video's name need not be a number. `actrec lists` numbers classes in alphabetical order and writes their names into
`labels.txt`; before you score published weights, compare that with the numbers that they were trained with, or use the lists
of the reference.

## Outputs

| old | actrec |
|---|---|
| `checkpoint.pth.tar`, `model_best.pth.tar` | `last.pt`, `best.pt` in the run folder |
| `log.log`, TensorBoard's scalars | `log.jsonl`, `steps.jsonl`, `tensorboard/`; `actrec runs` lists runs |
| `evaluate_log.log` | what `evaluate` prints; `evaluate --json` |
| `val_3crops_10clips_256_details.npy` | `evaluate --reference-files` writes `scores/val_10x3_details.npy`: float64, videos by classes, averaged logits in the list's order |
| `test_3crops_10clips_256.csv` | likewise `scores/test_10x3.csv`: `<video>;<c1>;…;<c5>` |

Videos that cannot be decoded are in neither file: `evaluate` names them as missing, and `ids` of the `.npz` beside them says
which row is which.

## Recipes

The published accuracies on Kinetics-400 (I3D-ResNet-50: 76.61), with the reference's frames and crops:

    actrec evaluate --weights K400-I3D-ResNet-50-f32.pth.tar --backbone i3d_resnet50 \\
        --no-temporal-stride --list val.txt --frames 32 --stride 2 --sampling dense --clips 10 --crops 3 \\
        --size 256 --crop-ratio 1 --sampling-rule ibm --crop-rule ibm --precision float32

On Something-Something V2 (TAM-ResNet-50: 63.83):

    actrec evaluate --weights FILE.pth.tar --backbone tam_resnet50 --no-temporal-stride --list val.txt \\
        --frames 32 --clips 2 --crops 3 --size 256 --crop-ratio 1 --sampling-rule ibm --crop-rule ibm \\
        --precision float32

Without the two rules, clips and crops are spread better, and the accuracy is another. Where `labels.txt` is missing, a list
has as many classes as its largest label says.

The training called `st2stv2-rgb-TAM-b3-sum-resnet-50-ts-max-f8-cosine-bs72-e50`:

    torchrun --nproc-per-node 8 -m -- actrec train --backbone tam_resnet50 --weights resnet50-19c8e357.pth \\
        --new-head --frames 8 --sampling-rule ibm --batch-size 72 --keep-last --epochs 50 \\
        --precision float32

## What differs without being asked

- Training mirrors half of the clips there and here, but labels follow `flips.txt`, which `actrec lists ssv2` writes: "moving
  left" becomes "moving right". `train --no-flip` mirrors nothing.
- Uniform sampling draws from each segment by itself; the reference had one offset for all, and never the last frames of a
  video: `train --sampling-rule ibm`. Dense sampling reaches a video's end, and a single clip is its middle, not its beginning.
- Nets train in bfloat16 where the hardware has it: `train --precision float32`.
- Validation drops and repeats no video, however many processes share it.
- Gray JPEGs are read as RGB.
"""

_HARA_PAGE = """\
# From Hara's 3D-ResNets

{head}

{reading}

## Flags of 3D-ResNets-PyTorch

{pytorch}

## Flags of 3D-ResNets (Lua)

{lua}

## Preprocessing scripts

| old | actrec |
|---|---|
| `generate_video_jpgs SRC DST DATASET` | `actrec extract-frames SRC DST` |
| `--size 240` | `extract-frames --short-side 240 --upscale`; default 256, and small videos stay as they are |
| `--fps` | `extract-frames --fps`: the frame that is on the screen; the reference interpolated motion |
| `--n_jobs` | `extract-frames --workers` |
| `image_%05d.jpg` | any numbered names are read; `extract-frames --template image_{{:05d}}.jpg` writes these |
| `generate_video_hdf5` | not offered, see --file_type |
| `kinetics_json`, `mit_json`, `ucf101_json`, `hmdb51_json` | `lists kinetics400`, `lists moments`, `lists ucf101 --split 1`, `lists hmdb51 --split 1` |
| `add_fps_into_activitynet_json`, `fps.py`, `n_frames_kinetics.py` | not needed: the index knows frames and rates; `fps` and `n_frames` of Lua's folders are read |
| `eval_accuracy -k` | `evaluate` prints top-1, top-5 and the mean over classes; `evaluate --json`. Other programs' result files are not read |
| `remove_dataparallel` | `actrec weights convert FILE OUT`; `module.` is no hindrance anywhere |
| Lua's `video_jpg.py`: 360 or 240 pixels high | `extract-frames --short-side 360`, the short side, whichever it is |
| `convert_model_from_gpu_to_cpu.lua` | not offered: `.t7` files are not read |

    actrec lists ucf101 ucfTrainTestlist --videos UCF-101 --out ucf101 --split 1
    actrec extract-frames UCF-101 ucf101 --short-side 240 --upscale

## Lists

The JSON files of all datasets are read and written, that of ActivityNet, too. Classes keep the numbers that the JSON gives
them (Kinetics: the order of their first appearance, not the alphabet), so published weights fit:

    actrec lists convert ucf101_01.json ucf101 --from hara --root ucf101_videos/jpg --to-root ucf101
    actrec lists convert ucf101 ucf101_01.json --to hara
    actrec lists convert activity_net.json activitynet --from activitynet --root activitynet_videos/jpg \\
        --to-root activitynet

The first writes `ucf101/train.txt`, `val.txt` and `labels.txt`. ActivityNet's annotations become rows in seconds, decoded as
segments of their videos.

## Outputs

| old | actrec |
|---|---|
| `save_<epoch>.pth`, `model_<epoch>.t7` | `last.pt`, `best.pt`; `train --keep-every 10` keeps `epoch_<n>.pt` |
| `train.log`, `train_batch.log`, `val.log` | `log.jsonl` (a row for each epoch), `steps.jsonl`; accuracies are in percent |
| `opts.json` | `config.json`, `environment.json`, `data.json`; `actrec runs compare A B` shows what differs |
| `val.json` | `evaluate --topk-json val.json`: `{{"results": {{id: [{{"label": …, "score": …}}]}}}}`, where the id is the path in the list |
| Lua's `version` and `external_data` of ActivityNet's submissions | not offered: add them to that file |

## Recipes

Fine-tuning of Kinetics-700 weights on UCF101: only the last layer (`--ft_begin_module fc`):

    actrec train --data ucf101 --backbone resnet3d_50 --weights r3d50_K_200ep.pth --new-head \\
        --freeze-until fc --sampling dense --geometry random-resized --batch-size 128 --lr 0.1 \\
        --weight-decay 1e-3 --schedule multistep --lr-steps 50,100,150 --epochs 200 --keep-every 5 \\
        --crop-ratio 1 --seed 1 --precision float32

`train --freeze-until layer4` trains the last stage, too; without it everything is trained. Then the video-level accuracy,
with probabilities averaged as in the reference, and its result file:

    actrec evaluate --data ucf101 --clips 10 --average probabilities --topk-json val.json

Training from scratch, as the reference's defaults have it:

    torchrun --nproc-per-node 8 -m -- actrec train --data kinetics --backbone resnet3d_18 --sampling dense \\
        --geometry random-resized --batch-size 128 --lr 0.1 --weight-decay 1e-3 --schedule multistep \\
        --lr-steps 50,100,150 --epochs 200 --keep-every 10 --crop-ratio 1 --seed 1 --precision float32

C3D as in Lua, whose clips were scaled to 255, less a mean, without a deviation:

    actrec train --backbone c3d --sampling dense --geometry corner --scales 1,0.8409,0.7071,0.5946,0.5 \\
        --mean 0.450097,0.422492,0.390098 --std 0.00392157,0.00392157,0.00392157 --batch-size 40 \\
        --lr 0.001 --dampening 0.9 --weight-decay 1e-3 --schedule multistep --lr-steps 85,130 \\
        --epochs 200

## What differs without being asked

- The default clip has a frame of each of 16 equal segments; Hara's are 16 consecutive frames: `train --sampling dense`.
- Nets train in bfloat16 where the hardware has it: `train --precision float32`.
- The best epoch is kept by its top-1 on the validation list, of videos and not of clips.
- A video or image that cannot be decoded is named and left out; the reference passed over it in silence.
"""


def pages() -> dict[str, str]:
    """The text of each page, by its name."""
    return {
        "from_ibm.md": _IBM_PAGE.format(head=_HEAD, reading=_READING, table=_table(IBM)),
        "from_hara.md": _HARA_PAGE.format(
            head=_HEAD, reading=_READING, pytorch=_table(HARA_PYTORCH), lua=_table(HARA_LUA)
        ),
    }


def _table(flags: tuple[Flag, ...]) -> str:
    lines = ["| old flag | its default | actrec | remark |", "|---|---|---|---|"]
    for flag in flags:
        names = ", ".join(f"`{name}`" for name in flag.old.split(", "))
        lines.append(f"| {names} | {flag.default} | {flag.new} | {flag.remark} |".replace("|  |", "| |"))
    return "\n".join(lines)


def main() -> None:
    for name, text in pages().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
