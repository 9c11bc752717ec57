"""`actrec doctor`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from actrec.cli.ending import finish, json_option
from actrec.cli.options import Command, data_option


@click.command(
    cls=Command,
    examples=[
        "actrec doctor",
        "actrec doctor --data /data/mine --json doctor.json",
    ],
)
@data_option
@json_option
def command(data: Path, json_path: Path | None) -> int:
    """Check the installation: what works on this machine, and how to fix what does not.

    Packages, the GPU, and every way to decode videos and images are tried. The exit code is 1 if something is broken.
    """
    from actrec.cli.progress import Bar
    from actrec.engine import doctor

    if not data.is_dir():
        raise ValueError(f"{data}: expected a folder that exists")
    with Bar("checks", total=doctor.num_children()) as bar:
        found = doctor.examine(data, progress=bar.add)
    lines = []
    width = max(len(finding.name) for finding in found.findings)
    for finding in found.findings:
        lines.append(f"{finding.state:<6}  {finding.name:<{width}}  {finding.text}")
        if finding.fix is not None:
            verb = "fix" if finding.state == "broken" else "change"
            lines.append(f"{'':<{width + 10}}to {verb} it: {finding.fix}")
    lines += ["", "What will be used:"]
    lines += [f"{purpose:<14} {means}" for purpose, means in found.plan.items()]
    broken = [finding.name for finding in found.findings if finding.state == "broken"]
    lines += ["", f"broken: {', '.join(broken)}" if broken else "nothing is broken"]
    result = {"usable": found.is_usable, "findings": list(map(asdict, found.findings)), "plan": dict(found.plan)}
    return finish(*lines, json_path=json_path, result=result, failed=not found.is_usable)
