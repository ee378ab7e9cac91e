"""The configuration itself: `polyswe config show`, `polyswe config schema`, `polyswe config reference`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from harness.commands.common import quiet_libraries

config = typer.Typer(
    no_args_is_help=True,
    help="Show a configuration, its schema and the meaning of every key.",
    epilog="Example: `polyswe config show sample`",
)


@config.command()
def show(
    name: Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file, or one that comes with polyswe.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting to change (repeatable).")
    ] = None,
) -> None:
    """Print a configuration with every default filled in, as YAML.

    Example:

        polyswe config show my.yaml --set run.max_cost=50
    """
    quiet_libraries()
    import yaml

    from harness.config import find_config, load_config, parse_settings, with_overrides

    settings = with_overrides(load_config(find_config(name)), parse_settings(set_ or ()))
    print(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")


@config.command()
def schema() -> None:
    """Print the JSON Schema of a configuration file, for editors that complete and check YAML.

    Example:

        polyswe config schema > polyswe.schema.json

        # first line of my.yaml:  # yaml-language-server: $schema=polyswe.schema.json
    """
    quiet_libraries()
    from harness.config.reference import json_schema

    print(json.dumps(json_schema(), indent=2))


@config.command()
def reference() -> None:
    """Print every key with its type, default and meaning, as Markdown.

    Example:

        polyswe config reference > configuration.md
    """
    quiet_libraries()
    from harness.config.reference import markdown

    print(markdown())
