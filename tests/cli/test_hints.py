"""Messages that lead to the right flag, name or file."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["linear-probe", "a.npz", "b.npz"], "a.npz: no such file: expected a file of `actrec embed`"),
        (["lists", "folders", "nope", "--out", "o"], "nope: no such folder: expected a folder of videos"),
        (["view", "--list", "a.txt"], "No such option '--list': pass LIST without a flag, as in `actrec view LIST`"),
        (["train", "--size", "224x288"], "'224x288': expected one number, because the clips of a loader are square"),
        (["train", "--size", "224,288"], "'224,288': expected one number, because the clips of a loader are square"),
        (["train", "--size", "big"], "'big': expected a whole number"),
        (["train", "--net", "s3d"], "No such option '--net'. Did you mean '--backbone'?"),
        (["train", "--learning-rate", "0.1"], "No such option '--learning-rate'. Did you mean '--lr'?"),
        (["train", "--batchsize", "8"], "No such option '--batchsize'. Did you mean '--batch-size'"),
        (
            ["view", "--probe-depth", "3"],
            "No such option '--probe-depth': it is an option of `actrec embed`, `actrec eval",
        ),
        (["index", "--lr", "3"], "No such option '--lr': it is an option of `actrec train`"),
        (["nets", "tam"], "did you mean tam_inception_v1 or"),
        (["train", "--list", "labels.txt"], "labels.txt: this is a file of class names: expected a list"),
        (["fuse", "frames", "runs"], "frames is a folder: expected a score file, such as RUN/scores/val_1x1.npz"),
    ],
)
def test_hints(run, inside, arguments, expected):
    code, out, err = run(*arguments)
    assert code in (1, 2)
    assert any(expected in line for line in err)
    assert not list(inside.glob("labels.txt.*"))
