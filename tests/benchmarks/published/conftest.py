"""Published tables as tests read them: rows by their name, cells by their column."""

from basereward.benchmarks.published.tables import PublishedCell, published_cells


class PublishedTable:
    """The cells of one table."""

    def __init__(self, name: str, cells: list[PublishedCell]) -> None:
        self.name, self.cells = name, cells

    def rows(self) -> list[str]:
        """The names of the rows as they stand."""
        return list(dict.fromkeys(cell.row for cell in self.cells))

    def row(self, name: str) -> dict[str, PublishedCell]:
        """The cells of a row by their columns."""
        return {cell.column: cell for cell in self.cells if cell.row == name}


def published_tables() -> list[PublishedTable]:
    """All tables in their order."""
    by_name: dict[str, list[PublishedCell]] = {}
    for cell in published_cells():
        by_name.setdefault(cell.table, []).append(cell)
    return [PublishedTable(name, cells) for name, cells in by_name.items()]


def published_table(name: str) -> PublishedTable:
    """The table of a name."""
    [found] = [table for table in published_tables() if table.name == name]
    return found
