import numpy as np
import pytest
import torch

from actrec.pipelines.workers.resize import resize


def picture(height: int, width: int) -> np.ndarray:
    """Smooth, with edges and some noise: what a resize sees."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / 24
    base = 127 + 80 * np.sin(x)[..., None] * np.cos(y[..., None] * [1, 1.5, 2])
    base[height // 3 : height // 2, width // 4 : width // 2] = (250, 30, 60)
    return (base + rng.normal(0, 4, base.shape)).clip(0, 255).astype(np.uint8)


def dali_resize(image: np.ndarray, height: int, width: int, *, antialias: bool = True) -> np.ndarray:
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def pipeline():
        source = fn.external_source(name="image", layout="HWC", dtype=types.UINT8)
        return fn.resize(source, size=[height, width], interp_type=types.INTERP_LINEAR, antialias=antialias)

    pipe = pipeline()
    pipe.build()
    pipe.feed_input("image", [image])
    pipe.schedule_run()
    return np.array(pipe.share_outputs()[0][0])


@pytest.mark.parametrize("size", [(224, 224), (112, 112), (64, 64), (48, 40), (300, 280), (300, 100), (256, 340)])
def test_is_dalis_antialiased_bilinear(size):
    image = picture(256, 340)
    out = np.empty((*size, 3), np.uint8)
    resize(image, out=out)
    assert np.abs(out.astype(int) - dali_resize(image, *size)).mean() < 0.4


@pytest.mark.parametrize("size", [(224, 224), (64, 64), (48, 40), (128, 171), (300, 100), (256, 340)])
def test_without_antialiasing_it_is_torchs_and_dalis_bilinear(size):
    image = picture(256, 340)
    out = np.empty((*size, 3), np.uint8)
    resize(image, out=out, antialias=False)
    floats = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    torchs = torch.nn.functional.interpolate(floats, size, mode="bilinear")[0].permute(1, 2, 0).round().numpy()
    for other in (torchs, dali_resize(image, *size, antialias=False)):
        assert np.abs(out - other.astype(float)).max() <= 1
    resize(image, out=out, antialias=False, exact=True)
    assert abs((out - torchs).mean()) < 0.03
    if size != image.shape[:2]:
        antialiased = np.empty_like(out)
        resize(image, out=antialiased)
        assert np.abs(antialiased - torchs).max() > 8 or min(size) >= 224


def test_a_cut_out_is_resized_as_a_picture_of_its_own():
    image = picture(120, 160)
    cut, whole = np.empty((32, 32, 3), np.uint8), np.empty((32, 32, 3), np.uint8)
    resize(image[10:70, 20:120], out=cut)
    resize(image[10:70, 20:120].copy(), out=whole)
    assert np.array_equal(cut, whole)


def test_the_same_size_is_a_copy():
    image = picture(30, 40)
    out = np.empty_like(image)
    resize(image, out=out)
    assert np.array_equal(out, image)
    assert not np.shares_memory(out, image)
