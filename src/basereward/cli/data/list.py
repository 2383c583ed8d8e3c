"""``basereward data list``."""

from typing import TYPE_CHECKING

from basereward.cli.output import JSON_OPTION, console, print_json, print_next

if TYPE_CHECKING:
    from basereward.reporting.tables import Table
    from basereward.sources.registry import Source


def list_sources(as_json: bool = JSON_OPTION) -> None:
    """List every source: hub id, revision, licence, modality, paper size and verdict.

    Example: `basereward data list --json`
    """
    from basereward.reporting.tables import to_rich
    from basereward.sources.registry import SOURCES

    sources = [SOURCES.get(name) for name in SOURCES.names()]
    if as_json:
        print_json({"sources": [_describe(source) for source in sources]})
    else:
        console().print(to_rich(_table(sources)))
        print_next("data", "convert", next(own.name for own in sources if own.kind == "pairs"))


def _describe(source: "Source") -> dict[str, str | int | None]:
    own = ("name", "title", "modality", "kind", "paper_name", "paper_size", "verdict", "remark")
    repository = source.repository
    header = {"hub_id": repository.id, "revision": repository.revision, "licence": repository.licence}
    return {**{name: getattr(source, name) for name in own}, **header}


def _table(sources: "list[Source]") -> "Table":
    from basereward.reporting.tables import Table, count

    header = ("source", "hub id", "revision", "licence", "modality", "paper", "pairs in paper", "verdict")
    return Table(
        header,
        [
            (
                source.name,
                source.repository.id,
                (source.repository.revision or "newest")[:8],
                source.repository.licence,
                source.modality if source.kind == "pairs" else f"{source.modality}, {source.kind}",
                source.paper_name or "-",
                count(source.paper_size),
                source.verdict,
            )
            for source in sources
        ],
    )
