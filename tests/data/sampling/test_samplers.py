import itertools
import json

import numpy as np
import pytest

from actrec.data.sampling import samplers


@pytest.fixture(scope="module")
def golden(shared_spec):
    return json.loads((shared_spec / "golden_vectors.json").read_text())


def rng(seed=0):
    return np.random.default_rng(seed)


def ibm_uniform(case, **options):
    return samplers.uniform(num_frames=case["num_frames"], frames=case["groups"], rule="ibm", **options)


def single_frames(cases):
    """Those with one frame per segment."""
    found = [case for case in cases if case.get("frames_per_group", 1) == 1]
    assert found
    return found


def ibm_dense(case, **options):
    return samplers.dense(
        num_frames=case["num_frames"], frames=case["groups"], stride=case["frames_per_group"], rule="ibm", **options
    )


# the reference's rules, by its own numbers


def test_ibm_uniform_evaluation(golden):
    for case in single_frames(golden["ibm_uniform_val_fixed"]):
        assert ibm_uniform(case, clips=case["num_clips"]).reshape(-1).tolist() == case["idx0"], case


def test_ibm_uniform_evaluation_without_the_golden_file():
    assert samplers.uniform(num_frames=300, frames=8, clips=3, rule="ibm").tolist() == [
        [17, 55, 92, 130, 167, 205, 242, 280],
        [18, 56, 93, 131, 168, 206, 243, 281],
        [19, 57, 94, 132, 169, 207, 244, 282],
    ]
    # exactly as many frames as wanted, and yet not all of them: bug B4
    assert samplers.uniform(num_frames=8, frames=8, rule="ibm").tolist() == [[0, 3, 3, 3, 4, 5, 7, 7]]


def test_ibm_dense_evaluation(golden):
    for case in golden["ibm_dense_val_fixed"]:
        assert ibm_dense(case, clips=case["num_clips"]).reshape(-1).tolist() == case["idx0"], case


def test_ibm_dense_evaluation_without_the_golden_file():
    clips = samplers.dense(num_frames=300, frames=32, stride=2, clips=10, rule="ibm")
    assert clips[:, 0].tolist() == [0, 26, 52, 78, 104, 131, 157, 183, 209, 236]
    assert samplers.dense(num_frames=10, frames=8, stride=2, rule="ibm").tolist() == [[0, 2, 4, 6, 8, 0, 2, 4]]


def uniform_training_set(case):
    """All clips that the reference can draw, as a set; None where they are too many."""
    length = case["num_frames"] // case["groups"]
    if not length:
        return None
    return {tuple(length * g + offset for g in range(case["groups"])) for offset in range(length)}


def rows(case):
    """The golden draw, clip by clip."""
    return [tuple(row) for row in np.reshape(case["idx0"], (case.get("num_clips", 1), -1)).tolist()]


@pytest.mark.parametrize("name", ["ibm_uniform_train", "ibm_uniform_val_random"])
def test_ibm_uniform_training_draws_from_the_same_set(golden, name):
    for case in single_frames(golden[name]):
        drawn = ibm_uniform(case, clips=8000, rng=rng())
        possible = uniform_training_set(case)
        if possible is not None:
            assert set(rows(case)) <= possible
            assert set(map(tuple, drawn.tolist())) == possible, case
            continue
        # too short: with replacement, sorted
        assert drawn.shape == (8000, case["groups"])
        assert (np.diff(drawn) >= 0).all()
        assert set(drawn.reshape(-1).tolist()) == set(range(case["num_frames"]))
        assert (np.diff(drawn) == 0).any(axis=1).mean() > 0.9
        if case["num_frames"] == 5:  # few enough to meet each
            assert set(rows(case)) <= set(map(tuple, drawn.tolist()))


def test_ibm_uniform_training_of_a_video_that_just_suffices_is_fixed():
    for seed in range(20):
        assert samplers.uniform(num_frames=8, frames=8, rng=rng(seed), rule="ibm").tolist() == [[*range(8)]]


@pytest.mark.parametrize("name", ["ibm_dense_train", "ibm_dense_val_random"])
def test_ibm_dense_training_draws_from_the_same_set(golden, name):
    for case in golden[name]:
        num_frames, frames, stride = case["num_frames"], case["groups"], case["frames_per_group"]
        starts = range(max(1, num_frames - frames * stride))  # the last possible start is not among them
        possible = {tuple((s + stride * i) % num_frames for i in range(frames)) for s in starts}
        assert set(rows(case)) <= possible
        assert set(map(tuple, ibm_dense(case, clips=8000, rng=rng()).tolist())) == possible, case


HARA = {
    "sliding(16,16)": lambda n: samplers.sliding_window(num_frames=n, frames=16, step=16),
    "sliding(16,8)": lambda n: samplers.sliding_window(num_frames=n, frames=16, step=8),
    "begin(16)": lambda n: samplers.sliding_window(num_frames=n, frames=16, step=n)[0],
}


def test_hara(golden):
    seen = set()
    for case in golden["hara_temporal_1based"]:
        if case["op"] not in HARA:  # temporal crops that actrec does not have
            continue
        seen.add(case["op"])
        ours = HARA[case["op"]](case["n"])
        assert ours.dtype == np.int64
        assert (ours + 1).tolist() == case["out"], case
    assert seen == set(HARA)


def test_hara_without_the_golden_file():
    assert samplers.sliding_window(num_frames=33, frames=16, step=16)[-1].tolist() == [32] * 16
    assert samplers.sliding_window(num_frames=20, frames=16, step=16)[-1].tolist() == [16, 17, 18, 19] * 4


# our own rules


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_frames": 10, "frames": 3, "stride": 2}, [[2, 4, 6]]),  # span 5, (10 - 5) // 2
        ({"num_frames": 10, "frames": 3, "stride": 2, "clips": 3}, [[0, 2, 4], [2, 4, 6], [5, 7, 9]]),
        ({"num_frames": 10, "frames": 3, "stride": 2, "clips": 2}, [[0, 2, 4], [5, 7, 9]]),
        ({"num_frames": 5, "frames": 3, "stride": 2, "clips": 2}, [[0, 2, 4], [0, 2, 4]]),
        ({"num_frames": 4, "frames": 3, "stride": 2}, [[0, 2, 3]]),
        ({"num_frames": 3, "frames": 5}, [[0, 1, 2, 2, 2]]),
        ({"num_frames": 1, "frames": 2, "stride": 9, "clips": 2}, [[0, 0], [0, 0]]),
    ],
)
def test_dense_evaluation(options, expected):
    assert samplers.dense(**options).tolist() == expected


@pytest.mark.parametrize(("num_frames", "frames", "stride", "clips"), [(300, 32, 2, 10), (65, 32, 2, 3), (7, 1, 1, 4)])
def test_dense_evaluation_starts(num_frames, frames, stride, clips):
    span = (frames - 1) * stride + 1
    starts = [round(x) for x in np.linspace(0, num_frames - span, clips)]
    rows = samplers.dense(num_frames=num_frames, frames=frames, stride=stride, clips=clips)
    assert rows.tolist() == [[*range(s, s + span, stride)] for s in starts]
    assert rows[-1, -1] == num_frames - 1


def test_dense_training_starts_anywhere_the_last_included():
    rows = samplers.dense(num_frames=10, frames=3, stride=2, clips=3000, rng=rng())
    assert set(map(tuple, rows.tolist())) == {(s, s + 2, s + 4) for s in range(6)}
    counts = np.bincount(rows[:, 0])
    assert counts.min() > 400  # 500 expected
    assert samplers.dense(num_frames=3, frames=4, rng=rng()).tolist() == [[0, 1, 2, 2]]


def test_uniform_evaluation_examples():
    assert samplers.uniform(num_frames=300, frames=8).tolist() == [[18, 56, 93, 131, 168, 206, 243, 281]]
    assert samplers.uniform(num_frames=12, frames=3, clips=2).tolist() == [[1, 5, 9], [3, 7, 11]]
    assert samplers.uniform(num_frames=2, frames=4).tolist() == [[0, 0, 1, 1]]
    assert samplers.uniform(num_frames=1, frames=3, clips=2).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_uniform_evaluation_is_the_formula_in_whole_numbers():
    """floor((x + (j + 1/2) / k) * M / T); floats miss it by one at 42 frames in 7 clips of 3, or 54 in 3 of 3."""
    sizes = itertools.product([*range(1, 61), 299, 1000, 10**6 + 3], range(1, 17), (1, 2, 3, 4, 5, 7))
    for num_frames, frames, clips in sizes:
        expected = [
            [(2 * clips * x + 2 * j + 1) * num_frames // (2 * clips * frames) for x in range(frames)]
            for j in range(clips)
        ]
        ours = samplers.uniform(num_frames=num_frames, frames=frames, clips=clips)
        assert ours.tolist() == expected, (num_frames, frames, clips)
        if num_frames >= clips * frames:
            assert len(np.unique(ours)) == clips * frames


@pytest.mark.parametrize("rule", ["actrec", "comb"])
def test_a_video_of_exactly_that_length_is_used_whole(rule):
    for frames in range(1, 65):
        everything = [[*range(frames)]]
        assert samplers.uniform(num_frames=frames, frames=frames, rule=rule).tolist() == everything
        assert samplers.uniform(num_frames=frames, frames=frames, rule=rule, rng=rng(frames)).tolist() == everything


@pytest.mark.parametrize(("num_frames", "frames"), [(37, 8), (8, 8), (9, 8), (64, 8), (5, 8), (1, 3), (100, 3)])
def test_uniform_training_draws_each_frame_within_its_segment(num_frames, frames):
    rows = samplers.uniform(num_frames=num_frames, frames=frames, clips=4000, rng=rng())
    first = np.arange(frames) * num_frames // frames
    last = np.ceil(np.arange(1, frames + 1) * num_frames / frames).astype(int) - 1
    assert (rows >= first).all()
    assert (rows <= last).all()
    assert (rows.min(axis=0) == first).all()
    assert (rows.max(axis=0) == last).all()
    assert set(rows.reshape(-1).tolist()) == set(range(num_frames))  # the first frames and the tail too


def test_uniform_training_draws_segments_independently():
    rows = samplers.uniform(num_frames=12, frames=3, clips=5000, rng=rng())
    offsets = rows - [0, 4, 8]
    assert len({*map(tuple, offsets.tolist())}) == 4**3
    assert np.bincount(rows.reshape(-1), minlength=12).min() > 1000  # 1250 expected


def test_comb_shares_one_offset_and_reaches_the_tail():
    rows = samplers.uniform(num_frames=37, frames=8, clips=4000, rng=rng(), rule="comb")
    assert set(rows.reshape(-1).tolist()) == set(range(37))
    rows = samplers.uniform(num_frames=32, frames=8, clips=1000, rng=rng(), rule="comb")
    assert set(map(tuple, rows.tolist())) == {tuple(range(o, 32, 4)) for o in range(4)}


def test_evaluation_comb_is_actrec():
    options = {"num_frames": 37, "frames": 8, "clips": 3}
    assert (samplers.uniform(rule="comb", **options) == samplers.uniform(**options)).all()


def test_every_clip_lies_within_its_video():
    for num_frames, frames, clips in itertools.product(range(1, 41), range(1, 17), range(1, 6)):
        size = {"num_frames": num_frames, "frames": frames, "clips": clips}
        generator = rng(num_frames * 1000 + frames * 10 + clips)
        for draw in (None, generator):
            made = {rule: samplers.uniform(rng=draw, rule=rule, **size) for rule in ("actrec", "comb", "ibm")}
            for stride in (1, 3):
                made[f"dense {stride}"] = samplers.dense(stride=stride, rng=draw, **size)
                made[f"wrapped {stride}"] = samplers.dense(stride=stride, rng=draw, rule="ibm", **size)
            for name, rows in made.items():
                assert rows.shape == (clips, frames), (name, size)
                assert rows.dtype == np.int64, (name, size)
                assert rows.min() >= 0, (name, size)
                assert rows.max() < num_frames, (name, size)
                assert name.startswith("wrapped") or (np.diff(rows) >= 0).all(), (name, size)


def test_same_generator_same_draw():
    for draw in (samplers.uniform, samplers.dense):
        first, again = (draw(num_frames=1000, frames=8, clips=2, rng=rng(5)) for _ in range(2))
        assert (first == again).all()
        assert (first != draw(num_frames=1000, frames=8, clips=2, rng=rng(6))).any()


def test_the_reference_rule_leaves_the_global_generator_alone():
    state = np.random.get_state()[1].copy()
    samplers.uniform(num_frames=5, frames=8, clips=3, rule="ibm")
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: samplers.uniform(num_frames=0, frames=8), "num_frames 0: expected at least 1"),
        (lambda: samplers.uniform(num_frames=9, frames=0), "frames 0: expected at least 1"),
        (lambda: samplers.uniform(num_frames=9, frames=8, clips=0), "clips 0: expected at least 1"),
        (
            lambda: samplers.uniform(num_frames=9, frames=8, rule="tsn"),
            "rule 'tsn': expected one of actrec, comb, ibm",
        ),
        (lambda: samplers.dense(num_frames=9, frames=8, stride=0), "stride 0: expected at least 1"),
        (lambda: samplers.dense(num_frames=-1, frames=8), "num_frames -1: expected at least 1"),
        (lambda: samplers.dense(num_frames=9, frames=8, rule="comb"), "rule 'comb': expected one of actrec, ibm"),
        (lambda: samplers.sliding_window(num_frames=9, frames=8, step=0), "step 0: expected at least 1"),
    ],
)
def test_wrong_values_are_named(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == words
