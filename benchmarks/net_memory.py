"""Peak memory of a training step of a net, with and without gradient checkpointing.

    python benchmarks/net_memory.py --net videomae_b

Each case is a process of its own: forward pass, backward pass and a step of AdamW in float32, twice, because the state
of the optimizer exists from the first step on. On a CPU the peak is that of the process (ru_maxrss), on a GPU that of
torch's allocator. What one more clip adds is the difference between batches of two clips and of one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

MIB = 2**20


def measure(name: str, batch: int, checkpointing: bool, device: str) -> float:
    """The peak in MiB, in this process."""
    import resource

    import torch

    import actrec

    torch.manual_seed(0)
    net = actrec.net(name, num_classes=400, checkpointing=checkpointing).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    clips = torch.randn(batch, 3, net.input.frames, *net.input.shape, device=device)
    for _ in range(2):
        torch.nn.functional.cross_entropy(net(clips), torch.zeros(batch, dtype=torch.long, device=device)).backward()
        optimizer.step()
        optimizer.zero_grad()
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="videomae_b")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(measure(args.net, *json.loads(args.case), args.device))
        return
    print("| checkpointing | batch of 1 | batch of 2 | one more clip |\n|---|--:|--:|--:|")
    for checkpointing in (False, True):
        command = [sys.executable, __file__, "--net", args.net, "--device", args.device, "--case"]
        one, two = (
            float(subprocess.check_output([*command, json.dumps([batch, checkpointing])], text=True))
            for batch in (1, 2)
        )
        print(
            f"| {'yes' if checkpointing else 'no'} | {one:.0f} MiB | {two:.0f} MiB | {two - one:.0f} MiB |", flush=True
        )


if __name__ == "__main__":
    main()
