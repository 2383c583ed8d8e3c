// A click on the head of a column sorts its table: numbers largest first, texts by letters, again the other way round.
// What has no number stands last; a reader finds the order that the report chose by loading the page again.
for (const table of document.querySelectorAll("table.sorted")) {
  const body = table.tBodies[0];
  for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const rows = [...body.rows], keys = new Map(rows.map((row) => [row, number(row.cells[place].textContent)]));
      const isText = rows.every((row) => keys.get(row) === null);
      const turned = head.getAttribute("aria-sort") === (isText ? "ascending" : "descending") ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", isText === (turned === 1) ? "ascending" : "descending");
      const text = (row) => row.cells[place].textContent;
      rows.sort((a, b) => isText ? turned * text(a).localeCompare(text(b))
        : (keys.get(a) === null) - (keys.get(b) === null) || turned * (keys.get(b) - keys.get(a)));
      body.append(...rows);
    });
  }
}

// The first number of a cell without separated thousands and marks of footnotes; null where it begins with none.
function number(text) {
  const match = text.replace(/,(?=\d{3})/g, "").match(/^\s*[+-]?\d+(?:\.\d+)?/);
  return match ? Number(match[0]) : null;
}
