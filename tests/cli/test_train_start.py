"""`actrec train --dry-run` and `--config`, its header and its last lines."""

from __future__ import annotations

import errno
import json

import torch

import actrec
from actrec.engine.build import weights_line

TINY = ["--backbone", "resnet3d_10", "--widen", "0.125", "--frames", "5", "--size", "32", "--batch-size", "4"]


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_dry_run_writes_nothing(run, inside):
    before = files(inside)
    code, out, err = run("train", *TINY, "--epochs", "100", "--dry-run")
    assert code == 0
    assert files(inside) == before
    assert out[0].startswith("time    about 0:")
    assert "s per step" in out[0]
    assert "s per validation" in out[0]
    assert out[0].endswith(" s per checkpoint)")
    assert out[1].endswith(" GB")
    names = ["net", "device", "data", "chance", "epochs", "run"]
    assert [line.split()[0] for line in err if line.startswith(tuple(names))] == names
    assert "epochs  100 epochs of 3 batches with 4 clips; AdamW with learning rate 0.001" in err


def test_the_header_says_what_comes_from_the_weights(run, inside):
    options = {"frames": 2, "size": 32, "depth": 1, "probe_depth": 1}
    weights = actrec.net("vjepa2_s", num_classes=3, **options).state_dict()
    encoder = {f"module.backbone.{k[8:]}": v for k, v in weights.items() if k.startswith("encoder.")}
    torch.save({"encoder": encoder}, inside / "encoder.pt")
    torch.save({k: v for k, v in weights.items() if not k.startswith("encoder.")}, inside / "probe.pt")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    start = ["train", "--backbone", "vjepa2_s", *flags, "--batch-size", "4", "--dry-run", "--new-head", "--weights"]
    code, _, err = run(*start, "encoder.pt")
    assert code == 0
    assert (
        f"weights encoder.pt, read as vjepa2: {len(encoder)} tensors, without the prefix module.backbone. of all "
        "names; new and random: probe, fc"
    ) in err
    code, _, err = run(*start, "probe.pt")
    assert (code, err[-1][:60]) == (1, "Error: probe.pt: contains no weights for encoder, so the net")


def test_the_header_says_which_tensors_were_changed(tmp_path):
    options = {"num_classes": 3, "depth": 1}
    weights = actrec.net("mvit_v1_b", frames=4, size=32, **options).state_dict()
    path = tmp_path / "small.pt"
    torch.save(weights, path)
    net = actrec.net("mvit_v1_b", frames=8, size=64, **options)
    line = weights_line(str(path), net, actrec.load_weights(net, path))
    assert line == f"{path}, read as actrec: {len(weights)} tensors (2 interpolated)"


def test_a_dry_run_finds_what_training_would_find(run, inside):
    assert run("train", *TINY, "--epochs", "1", "--run", "r")[0] == 0
    code, _, err = run("train", *TINY, "--dry-run", "--run", "r", "--json", "said.json")
    assert (code, err[-1][:33]) == (1, "Error: r contains a run already: ")
    code, _, err = run("train", *TINY, "--dry-run", "--resume")
    assert (code, err[-1]) == (2, "Error: --dry-run with --resume: it shows a new run; omit --resume")
    code, _, err = run("train", *TINY, "--dry-run", "--batch-size", "64")
    assert code == 2
    assert err[-1].startswith("Error: --batch-size 64 with 12 videos: expected at most 12")
    code, _, _ = run("train", *TINY, "--dry-run", "--json", "said.json")
    said = json.loads((inside / "said.json").read_text())
    assert code == 0
    assert (said["batches"], said["optimizer"], said["lr"]) == (3, "adamw", 0.001)
    assert said["step"] > 0
    assert said["memory"] > 1e6
    assert said["checkpoint"] > 0
    expected = 50 * (3 * said["step"] + said["validation"] + 3 * said["checkpoint"])
    assert abs(said["total"] - expected) < 1e-6


def stored(folder):
    return json.loads((folder / "config.json").read_text())


def test_a_run_starts_with_the_options_of_another_run(run, inside):
    first = [*TINY, "--epochs", "1", "--lr", "0.003", "--color-jitter", "0.1,0.1,0.1,0", "--seed", "7", "--no-flip"]
    assert run("train", *first, "--run", "a")[0] == 0
    code, _, err = run("train", "--config", "a/config.json", "--lr", "0.002", "--run", "b")
    assert code == 0
    a, b = stored(inside / "a"), stored(inside / "b")
    assert (a["optim"]["lr"], b["optim"]["lr"]) == (0.003, 0.002)
    a["optim"]["lr"] = 0.002
    assert a == b
    assert not any("config.json" in line for line in err)
    code, _, _ = run("train", "--config", "a", "--run", "c")  # the run folder
    assert (code, stored(inside / "c")["optim"]["lr"]) == (0, 0.003)


def test_another_net_keeps_its_own_input(run, inside):
    options = ["--epochs", "1", "--batch-size", "4", "--frames", "8", "--size", "48"]
    assert run("train", *options, "--backbone", "resnet3d_10", "--widen", "0.125", "--run", "a")[0] == 0
    code, _, err = run("train", "--config", "a/config.json", "--backbone", "tsn_resnet18", "--dry-run")
    assert code == 0
    line = "options as in a/config.json, without --widen 0.125 (because of --backbone tsn_resnet18)"
    assert line in err
    assert any(line.startswith("net     tsn_resnet18, ") and line.endswith("8 frames, 48x48") for line in err)


def test_options_of_other_versions_are_named(run, inside):
    assert run("train", *TINY, "--epochs", "1", "--run", "a")[0] == 0
    content = stored(inside / "a")
    content["optim"]["magic"] = 1
    content["augment"]["colour_jitter"] = content["augment"].pop("color_jitter")  # renamed since
    del content["run"]["early_stopping"]
    content["future"] = {}
    (inside / "old.json").write_text(json.dumps(content))
    code, _, err = run("train", "--config", "old.json", "--run", "b")
    assert code == 0
    note = "old.json: 2 options that this version does not have: optim.magic, future; ignored"
    assert [line for line in err if line.startswith("old.json")] == [note]
    content["optim"]["lr"] = "fast"
    (inside / "old.json").write_text(json.dumps(content))
    code, _, err = run("train", "--config", "old.json", "--run", "c")
    assert (code, err[-1]) == (1, "Error: old.json: optim: lr 'fast': expected a number")


def test_a_file_that_is_no_configuration(run, inside):
    (inside / "x.json").write_text("{}")
    code, _, err = run("train", "--config", "x.json")
    assert code == 1
    assert err == ["Error: x.json: not the configuration of a run: expected the config.json of a run folder"]
    for section in ("input", "clip", "net"):
        (inside / "x.json").write_text(json.dumps({"net": {"backbone": "resnet3d_10"}, "run": {}} | {section: 3}))
        code, _, err = run("train", "--config", "x.json", "--dry-run", *TINY)
        assert (code, err) == (1, [f"Error: x.json: {section} 3: expected an object {{…}}"])
    (inside / "x.json").write_text(json.dumps({"net": {"backbone": "resnet3d_10"}, "input": {"size": "x"}}))
    code, _, err = run("train", "--config", "x.json")
    assert (code, err) == (1, ["Error: x.json: input: size 'x': expected a whole number"])
    code, _, err = run("train", "--config", "absent.json")
    assert (code, err) == (1, ["Error: absent.json: No such file or directory"])
    code, _, err = run("train", "--config", "x.json", "--resume")
    assert code == 2
    assert err[-1] == "Error: --config with --resume: a run continues with its own options; omit one of the two"


def test_the_last_lines(run, inside):
    code, out, err = run("train", *TINY, "--epochs", "2", "--early-stopping", "1", "--run", "r", "--json", "said.json")
    assert code == 0
    assert out[-5].startswith("best.pt is from epoch ")
    assert out[-4].split() == ["class", "videos", "right", "accuracy", "mistaken", "for"]
    assert [line.split()[0] for line in out[-3:-1]] == ["dark", "bright"]
    assert out[-1].startswith("2 epochs, best top-1 ")
    assert out[-1].endswith(" -> r/best.pt, r/last.pt")
    said = json.loads((inside / "said.json").read_text())
    assert [one["kind"] for one in said["warnings"]] == []
    assert [one["name"] for one in said["classes"]] == ["dark", "bright"]
    assert said["best_epoch"] in (0, 1)


def test_a_run_that_stopped_early_is_called_so(run, inside):
    still = ["--lr", "1e-30", "--weight-decay", "0", "--freeze-norm", "all", "--schedule", "step"]
    code, out, err = run("train", *TINY, *still, "--epochs", "9", "--early-stopping", "2", "--run", "runs/r")
    assert code == 0
    assert out[-6] == "stopped early after 3 epochs: the last 2 epochs had no better validation result"
    assert out[-1].startswith("3 epochs, best top-1 ")
    code, out, _ = run("runs")
    assert "stopped early" in out[-1]
    code, _, err = run("evaluate")
    assert "net: runs/r/best.pt (resnet3d_10, epoch 1 of 9, run stopped early)" in err


def test_classes_with_a_direction_are_not_mirrored(run, inside):
    (inside / "labels.txt").write_text("turn left\nturn right\n")
    code, _, err = run("train", *TINY, "--epochs", "1", "--run", "a")
    assert code == 0
    (warning,) = [line for line in err if line.startswith("WARNING")]
    assert warning == (
        "WARNING: the names of 2 classes ('turn left', 'turn right') contain a direction, and there is no flips.txt "
        "next to train.txt: their clips are never mirrored; `actrec lists flips` proposes a flips.txt, with which "
        "mirrored clips exchange their labels in a new run"
    )
    assert json.loads((inside / "a/data.json").read_text())["flip_map"] == [-1, -1]
    code, _, err = run("train", *TINY, "--epochs", "1", "--run", "b", "--no-flip")
    assert not any(line.startswith("WARNING") for line in err)

    data = json.loads((inside / "a/data.json").read_text())
    (inside / "a/data.json").write_text(json.dumps(data | {"flip_map": None}))  # a run of an earlier version
    code, out, err = run("train", "--resume", "--run", "a")
    assert (code, out[0]) == (0, "a is finished: 1 epoch is done")

    assert run("lists", "flips")[0] == 0
    code, _, err = run("train", *TINY, "--epochs", "1", "--run", "c")
    assert not any(line.startswith("WARNING") for line in err)
    assert json.loads((inside / "c/data.json").read_text())["flip_map"] == [1, 0]
    code, _, err = run("train", "--resume", "--run", "a")
    assert (code, err[-1][:44]) == (1, "Error: a was started with other data (flip_m")


def edited(inside, **sections):
    """`config.json` of a short run with other options, as `x.json`."""
    content = stored(inside / "a")
    for section, values in sections.items():
        content[section] |= values
    (inside / "x.json").write_text(json.dumps(content))


def test_an_option_of_the_user_brings_the_defaults_of_its_group(run, inside):
    assert run("train", *TINY, "--epochs", "1", "--run", "a")[0] == 0
    edited(
        inside,
        clip={"sampling": "dense", "stride": 2},
        augment={"geometry": "corner", "scales": [1.0, 0.5], "auto_augment": "randaugment", "rand_ops": 3},
        optim={"schedule": "multistep", "lr_steps": [3, 6], "lr": 0.004, "lr_batch": 8, "freeze_until": "layer1"},
    )
    other = ["--sampling", "uniform", "--geometry", "center", "--auto-augment", "none"]
    other += ["--schedule", "cosine", "--optimizer", "sgd"]
    code, _, err = run("train", "--config", "x.json", *other, "--run", "b")
    assert code == 0
    (line,) = [line for line in err if line.startswith("options ")]
    assert line.startswith("options as in x.json, without ")
    for left_out in (
        "--lr 0.004, --lr-batch 8, --weight-decay 0.05 (because of --optimizer sgd)",
        "--stride 2 (because of --sampling uniform)",
        "--lr-steps 3,6 (because of --schedule cosine)",
        "--scales 1,0.5 (because of --geometry center)",
        "--rand-ops 3 (because of --auto-augment none)",
    ):
        assert left_out in line
    optim = stored(inside / "b")["optim"]
    assert (optim["lr"], optim["lr_batch"], optim["weight_decay"]) == (0.01, None, 5e-4)
    assert optim["freeze_until"] == "layer1"

    code, _, err = run("train", "--config", "x.json", "--backbone", "tiny3d", "--lr", "0.001", "--dry-run")
    assert code == 0
    assert "--freeze-until layer1, --widen 0.125 (because of --backbone tiny3d)" in " ".join(err)
    assert "--lr-batch 8 (because of --lr 0.001)" in " ".join(err)


def test_the_default_learning_rate_is_that_of_the_net(run, inside):
    size = TINY[4:]
    code, _, err = run("train", *size, "--epochs", "1", "--run", "a")
    assert code == 0
    assert any(line.endswith("; AdamW with learning rate 0.002") for line in err)
    assert stored(inside / "a")["optim"]["lr"] == 0.002
    other = ["--config", "a/config.json", "--backbone", "resnet3d_10", "--widen", "0.125", "--dry-run"]
    _, _, err = run("train", *other)
    assert any(line.endswith("; AdamW with learning rate 0.001") for line in err)
    assert not any(line.startswith("options") for line in err)
    edited(inside, optim={"lr": 0.001})  # an earlier default of the net
    for arguments in (["--run", "b"], [*other[2:], "--lr-batch", "8"]):
        _, _, err = run("train", "--config", "x.json", *arguments, "--epochs", "1")
        rate = 0.0005 if "--lr-batch" in arguments else 0.001
        assert any(line.endswith(f"; AdamW with learning rate {rate}") for line in err)
    assert run("train", "--resume", "--run", "b")[0] == 0
    code, _, err = run("train", "--resume", "--run", "b", "--lr", "0.002")
    assert (code, err[-1][:54]) == (2, "Error: b was started with --lr 0.001 (now --lr 0.002):")
    code, _, err = run("train", *TINY, "--min-lr", "0.0015", "--run", "c")
    assert (code, err[-1]) == (2, "Error: --min-lr 0.0015 with --lr 0.001: expected at most as much")
    assert run("train", *size, "--min-lr", "0.0015", "--dry-run")[0] == 0


def test_a_wrong_value_names_where_it_is_from(run, inside):
    assert run("train", *TINY, "--epochs", "1", "--run", "a")[0] == 0
    edited(inside, net={"backbone": "resnet3d_11"})
    for arguments in (["--config", "x.json"], ["--config", "x.json", "--dry-run"]):
        code, _, err = run("train", *arguments)
        assert code == 2
        assert err[-1].startswith("Error: --backbone 'resnet3d_11': there is no such net")
        assert err[-1].endswith(" (--backbone is from x.json)")
    edited(inside, clip={"stride": 4})
    code, _, err = run("train", "--config", "x.json", "--sampling", "uniform")
    assert (code, err[-1].split(": ")[-1]) == (
        2, "expected 1; other strides need --sampling dense (--stride is from x.json)",
    )  # fmt: skip
    code, _, err = run("train", "--recipe", "ibm", "--no-keep-last", *TINY[:-2])
    assert code == 2
    assert err[-1].endswith(" (--batch-size is from --recipe ibm)")


def test_a_closed_standard_output_stops_the_run(run, inside, monkeypatch):
    def closed(text):
        raise BrokenPipeError(errno.EPIPE, "standard output: Broken pipe")

    monkeypatch.setattr("actrec.cli.progress.tell", closed)
    code, _, err = run("train", *TINY, "--epochs", "2", "--run", "a run")
    assert (code, err[-1]) == (
        1, "stopped, because standard output was closed: pass --run 'a run' --resume to continue"
    )  # fmt: skip


def test_a_flips_file_without_a_class_that_has_a_direction(run, inside):
    (inside / "labels.txt").write_text("turn left\nturn right\n")
    (inside / "flips.txt").write_text("# empty\n")
    code, _, err = run("train", *TINY, "--epochs", "1", "--run", "a")
    assert code == 0
    (warning,) = [line for line in err if line.startswith("WARNING")]
    assert "('turn left', 'turn right') contain a direction, and flips.txt does not contain them: " in warning
    assert "`actrec lists flips --dry-run` shows the lines" in warning
    (inside / "flips.txt").write_text("turn left, turn right\n")
    assert not any(line.startswith("WARNING") for line in run("train", *TINY, "--epochs", "1", "--run", "b")[2])


def test_the_header_says_how_best_pt_is_chosen(run, inside):
    _, _, err = run("train", *TINY, "--dry-run")
    line = "best.pt the epoch with the best validation top-1, and of equal ones the lowest loss; one video is 25 points"
    assert line in err
