"""docs/from_ibm.md and docs/from_hara.md: no old flag is missing, and every flag of actrec in them exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest

from actrec import config
from actrec.cli.main import COMMANDS, actrec

DOCS = Path(__file__).resolve().parents[1] / "docs"
_SPEC = importlib.util.spec_from_file_location("reference_flags", DOCS / "reference_flags.py")
reference_flags = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference_flags)

# The options of the old programs, as their sources declare them.
IBM = """--backbone_net -d --depth --dropout --groups --frames_per_group --without_t_stride --pooling_method --dw_t_conv
    --temporal_module_name --blending_frames --blending_method --no_dw_conv --gpu --disable_cudnn_benchmark -b
    --batch-size --lr --learning-rate --lr_scheduler --lr_steps --momentum --nesterov --weight-decay --wd
    --epochs --resume --pretrained --start-epoch --clip_gradient --cg --no_imagenet_pretrained -j --workers
    --datadir --dataset --threed_data --input_size --disable_scaleup --random_sampling --dense_sampling
    --augmentor_ver --scale_range --modality --mean --std --logdir --print-freq --show_model -e --evaluate
    --num_crops --num_clips --sync-bn --world-size --rank --dist-url --dist-backend
    --multiprocessing-distributed"""
HARA_PYTORCH = """--root_path --video_path --annotation_path --result_path --dataset --n_classes --n_pretrain_classes
    --pretrain_path --ft_begin_module --sample_size --sample_duration --sample_t_stride --train_crop
    --train_crop_min_scale --train_crop_min_ratio --no_hflip --colorjitter --train_t_crop --learning_rate
    --momentum --dampening --weight_decay --nesterov --optimizer --mean_dataset --no_mean_norm --no_std_norm
    --value_scale --lr_scheduler --multistep_milestones --overwrite_milestones --plateau_patience --batch_size
    --inference_batch_size --batchnorm_sync --n_epochs --n_val_samples --resume_path --no_train --no_val
    --inference --inference_subset --inference_stride --inference_crop --inference_no_average --no_cuda
    --n_threads --checkpoint --model --model_depth --conv1_t_size --conv1_t_stride --no_max_pool
    --resnet_shortcut --resnet_widen_factor --wide_resnet_k --resnext_cardinality --input_type --manual_seed
    --accimage --output_topk --file_type --tensorboard --distributed --dist_url --world_size"""
HARA_LUA = """--root_path --video_path --annotation_path --result_path --premodel_path --bgr_premodel --dataset
    --lr_path --n_classes --sample_size --sample_duration --initial_scale --n_scales --scale_step --learning_rate
    --weight_decay --momentum --dropout_ratio --batch_size --n_epochs --begin_epoch --n_val_samples --no_train
    --no_val --test_video --test_subset --no_cuda --gpu_id --n_gpus --n_threads --checkpoint --manual_seed
    --crop --no_hflip --model --batch_norm --global_pooling --resnet_depth --shortcut_type --weight_init
    --freeze_params"""


def blocks(page: str) -> list[str]:
    """The lines of a page's code blocks, those that are continued in one."""
    text = reference_flags.pages()[page].replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def command_lines(page: str) -> list[str]:
    """What is called in code blocks and code spans, without `actrec` or what starts several processes."""
    spans = re.findall(r"`([^`\n]+)`", reference_flags.pages()[page])
    lines = [re.sub(r"^(torchrun .* -m -- )?actrec ", "", line) for line in (*blocks(page), *spans)]
    return [line for line in lines if line.split()[0] in COMMANDS]


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that a line calls, and its arguments."""
    found, words = actrec, list(words)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(found)
        if words[0] not in found.list_commands(context):
            break
        found = found.get_command(context, words.pop(0))
    return found, words


def fault(line: str) -> str | None:
    """The first flag of a line that its command does not have, or whose value it does not take."""
    command, words = find_command(shlex.split(line))
    known = {flag: p for p in command.params for flag in (*p.opts, *p.secondary_opts)}
    for word, value in zip(words, [*words[1:], ""]):
        if not word.startswith("--"):
            continue
        if word not in known:
            return word
        if value and not value.startswith("--") and not value.isupper() and not known[word].is_flag:
            try:
                known[word].type.convert(value, known[word], None)
            except click.BadParameter:
                return f"{word} {value}"
    return None


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [("IBM", IBM), ("HARA_PYTORCH", HARA_PYTORCH), ("HARA_LUA", HARA_LUA)],
    ids=["ibm", "pytorch", "lua"],
)
def test_every_old_flag_has_one_row_and_an_answer(rows, wanted):
    table = getattr(reference_flags, rows)
    assert sorted(name for flag in table for name in flag.old.split(", ")) == sorted(wanted.split())
    for flag in table:
        assert flag.default
        assert flag.new.startswith("`") or flag.remark, f"{flag.old}: why not?"


@pytest.mark.parametrize("page", reference_flags.pages())
def test_the_pages_are_as_generated(page):
    assert (DOCS / page).read_text(encoding="utf-8") == reference_flags.pages()[page], "run docs/reference_flags.py"


@pytest.mark.parametrize("page", reference_flags.pages())
def test_every_flag_belongs_to_its_command_and_takes_its_value(page):
    lines = command_lines(page)
    assert len(lines) > 60
    assert [(line, found) for line in lines if (found := fault(line))] == []


@pytest.mark.parametrize("page", reference_flags.pages())
def test_recipes_are_whole_commands_with_options_that_go_together(page):
    from actrec.nets import NETS

    lines = command_lines(page)[: len(blocks(page))]
    assert len(lines) >= 5
    for line in lines:
        command, words = find_command(shlex.split(line))
        given = command.make_context(command.name, words, **actrec.context_settings).params  # click keeps its --help
        if line.startswith("train "):
            for kind in (config.Net, config.Clip, config.Augment, config.Loader, config.Optim, config.Loss, config.Run):
                kind(**{f.name: given[f.name] for f in fields(kind)})
        if "backbone" in given:
            chosen = {f.name for f in fields(config.Net) if given[f.name] is not None} - {"backbone"}
            assert chosen <= NETS.get(given["backbone"]).options.keys(), line


def test_every_line_of_a_code_block_is_a_command_of_actrec():
    for page in reference_flags.pages():
        assert all(re.match(r"(torchrun .* -m -- )?actrec \w", line) for line in blocks(page))


@pytest.mark.parametrize("rows", ["IBM", "HARA_PYTORCH", "HARA_LUA"])
def test_defaults_that_are_called_the_same_are(rows):
    checked = 0
    for flag in getattr(reference_flags, rows):
        if "he same default" not in flag.remark or " `" in flag.remark.split("he same default")[0]:
            continue
        words = shlex.split(re.search("`([^`]+)`", flag.new)[1])
        command = find_command(words)[0]
        param = next(p for p in command.params if words[-2] in p.opts) if words[-2].startswith("--") else None
        if param is None or param.default is None:  # a net's own
            continue
        assert param.type.convert(words[-1], param, None) == pytest.approx(param.default, rel=1e-3), flag.old
        checked += 1
    assert checked


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("train --lrs 1", "--lrs"),
        ("train --schedule linear", "--schedule linear"),
        ("train --lr-steps 5,x", "--lr-steps 5,x"),
        ("evaluate --epochs 3", "--epochs"),
        ("lists convert --to-rot A", "--to-rot"),
        ("lists convert --to-root A --lr", "--lr"),
        ("train --list --lr RATE --no-flip", None),
    ],
)
def test_what_is_wrong_is_found(line, found):
    assert fault(line) == found
