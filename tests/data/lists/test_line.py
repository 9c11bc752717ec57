import random

import pytest
from list_files import NAMES

from actrec.data.lists.labels import Classes
from actrec.data.lists.line import FORMS, SEPARATORS, Dialect, LineParser

PARTS = ["a", "b/c", "clip 2", "my clip", "x;y", "p,q", "walk", "é", "v.mp4", "3", "a walk"]
LABELS = ["0", "3", "3.0", "run", "shaking hands", "hands", "push; pull", "3,1", "run,walk", "left, right", "jump"]


@pytest.mark.parametrize("sep", SEPARATORS)
@pytest.mark.parametrize("form", FORMS)
def test_regular_lines_mean_what_the_rules_for_any_line_say(sep, form):
    rng = random.Random(0)
    taken = 0
    for _trial in range(400):
        parts = rng.sample(PARTS, rng.randint(1, len(PARTS)))
        labels = rng.sample(LABELS, rng.randint(1, 4))
        starts = rng.choice([["1"], ["1", "5"], ["0", "1"], ["1", "-2"], ["1", "+3", "٣"], ["1", "1_0"]])
        lines = []
        for _ in range(rng.randint(1, 6)):
            frames = [rng.choice(starts), str(rng.randint(4, 30))] if form.startswith("range") else []
            label = [rng.choice(labels)] if "label" in form else []
            lines.append(rng.choice([sep, sep, sep + " "]).join([rng.choice(parts), *frames, *label]).strip())
        classes = Classes(rng.choice([(), NAMES, NAMES[:2], ["run", "walk", "clip", "2 1", "jump", "a;b"]]))
        parser = LineParser(Dialect(sep, form), classes)
        for line in filter(None, lines):
            if (fast := parser.parse_regular(line)) is not None:
                taken += 1
                assert fast == parser.parse(line)
    assert taken > 100
