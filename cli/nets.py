"""`actrec nets`"""

from __future__ import annotations

import click


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> int:
    """List the nets, or show one with its options."""
    import inspect

    from actrec.nets import NETS

    for each in [name] if name else NETS.names():
        entry = NETS.get(each)
        click.echo(
            f"{each:<24} {entry.num_params / 1e6:6.1f} M parameters  {entry.input.frames} frames of "
            f"{entry.input.size}x{entry.input.size}  {entry.paper}"
        )
        if name:
            for option in inspect.signature(entry.build).parameters.values():
                click.echo(f"  {option.name} = {option.default}")
            click.echo(f"  weights: actrec, {', '.join(entry.weights)}")
    return 0
