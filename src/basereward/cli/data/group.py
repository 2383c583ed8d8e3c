"""``basereward data``: its list of commands."""

import typer

from basereward.cli.data.annotate import annotate_pairs
from basereward.cli.data.contamination import check_contamination
from basereward.cli.data.convert import convert_source
from basereward.cli.data.curate import curate_sources
from basereward.cli.data.distill import distill_pairs
from basereward.cli.data.features import write_pair_features
from basereward.cli.data.list import list_sources
from basereward.cli.data.mix import mix_sources
from basereward.cli.data.show import show_pairs
from basereward.cli.data.split import split_pairs

data = typer.Typer(help="Convert, curate, annotate, mix, split and look at training sets.", no_args_is_help=True)
data.command("list")(list_sources)
data.command("annotate")(annotate_pairs)
data.command("convert")(convert_source)
data.command("contamination")(check_contamination)
data.command("curate")(curate_sources)
data.command("distill")(distill_pairs)
data.command("features")(write_pair_features)
data.command("mix")(mix_sources)
data.command("show")(show_pairs)
data.command("split")(split_pairs)
