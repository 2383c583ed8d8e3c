const data = JSON.parse(document.getElementById("data").textContent);
const [search, source, outcome, order] = ["search", "source", "outcome", "order"].map((id) => document.getElementById(id));
const [cards, end, count] = ["cards", "end", "count"].map((id) => document.getElementById(id));
// Only some pages have several kinds of items.
const kind = make("select");
kind.setAttribute("aria-label", "kind");
outcome.after(kind);
const STEP = 24;
const byRow = (a, b) => a.source.localeCompare(b.source) || a.row - b.row;
const last = (margin, direction) => margin === null ? Infinity : direction * margin;
const ORDERS = {
  [`${data.margin}, lowest first`]: (a, b) => last(a.margin, 1) - last(b.margin, 1) || byRow(a, b),
  [`${data.margin}, highest first`]: (a, b) => last(a.margin, -1) - last(b.margin, -1) || byRow(a, b),
  [`${data.margin}, nearest to zero first`]: (a, b) =>
    last(a.margin && Math.abs(a.margin), 1) - last(b.margin && Math.abs(b.margin), 1) || byRow(a, b),
  "row": (a, b) => a.row - b.row || byRow(a, b),
  "subset": byRow,
};
for (const item of data.items)
  item.words = [item.id, item.prompt, ...item.answers.map((answer) => answer[1])].join("\n").toLowerCase();

let found = [], shown = 0;

// Texts of a data set are only ever set as text, never as markup.
function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function fill(select, all, key) {
  const counts = new Map();
  for (const item of data.items) counts.set(item[key], (counts.get(item[key]) || 0) + 1);
  const options = [["", `${all} (${data.items.length})`], ...[...counts].sort().map(([name, n]) => [name, `${name} (${n})`])];
  for (const [value, text] of options) select.append(Object.assign(make("option", "", text), { value }));
  select.hidden = counts.size < 2;
}

function format(score) {
  return score === null ? "no score" : Number.isInteger(score) ? String(score) : score.toFixed(3);
}

function picture(place, number) {
  if (place === null) return make("span", "lost", `image ${number} is missing or cannot be read`);
  const [address, width, height] = data.images[place];
  const image = make("img", width < 128 ? "tiny" : "");
  return Object.assign(image, { src: address, width, height, alt: `image ${number} of the prompt` });
}

// A long text is folded; what is hidden is counted on the button that shows it.
const LONG = 900, LINES = 14;

function passage(parts) {
  const box = make("div"), text = make("p", "text");
  text.append(...parts.map(([words, isOwn]) => isOwn ? make("mark", "", words) : document.createTextNode(words)));
  box.append(text);
  const length = text.textContent.length, lines = text.textContent.split("\n").length;
  if (length > LONG || lines > LINES) {
    const marks = parts.filter(([, isOwn]) => isOwn).length;
    const label = `show all ${length.toLocaleString("en")} characters` + (marks ? `, ${marks} marked passages` : "");
    const button = Object.assign(make("button", "fold", label), { type: "button" });
    text.classList.add("folded");
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => {
      const isFolded = text.classList.toggle("folded");
      button.textContent = isFolded ? label : "show less";
      button.setAttribute("aria-expanded", String(!isFolded));
    });
    box.append(button);
  }
  return box;
}

// Words of two texts that are not in their longest common subsequence, each with the white space behind it. Two texts
// that share little are no versions of one: there all would be marked, and nothing is.
const MOST_CELLS = 4e6, LEAST_SHARED = 0.3;

function compared(texts) {
  const [first, second] = texts.map((text) => text.match(/\S+\s*|^\s+/g) || []);
  const bare = [first, second].map((words) => words.map((word) => word.trim()));
  const whole = texts.map((text) => [[text, false]]);
  if (first.length * second.length > MOST_CELLS) return whole;
  const width = second.length + 1, best = new Uint16Array((first.length + 1) * width);
  for (let i = first.length - 1; i >= 0; i--)
    for (let j = second.length - 1; j >= 0; j--)
      best[i * width + j] = bare[0][i] === bare[1][j] ? best[(i + 1) * width + j + 1] + 1
        : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
  if (best[0] < LEAST_SHARED * Math.max(first.length, second.length) || texts[0] === texts[1]) return whole;
  const marked = [[], []];
  const add = (side, word, isOwn) => {
    const last = marked[side].at(-1);
    if (last && last[1] === isOwn) last[0] += word;
    else marked[side].push([word, isOwn]);
  };
  for (let i = 0, j = 0; i < first.length || j < second.length;) {
    if (i < first.length && j < second.length && bare[0][i] === bare[1][j]) {
      add(0, first[i++], false);
      add(1, second[j++], false);
    } else if (j === second.length || (i < first.length && best[(i + 1) * width + j] >= best[i * width + j + 1])) add(0, first[i++], true);
    else add(1, second[j++], true);
  }
  return marked;
}

function response([side, text, scores], parts) {
  const box = make("div", side);
  const head = make("h3", "", side);
  const numbers = make("span", "scores");
  for (const [place, score] of scores.entries()) {
    const label = data.scorers.length > 1 ? `${data.scorers[place]} ` : "";
    numbers.append(make("span", "score", label + format(score)));
  }
  head.append(numbers);
  box.append(head, passage(parts || [[text, false]]));
  return box;
}

function card(item) {
  const box = make("article");
  box.dataset.outcome = item.outcome;
  const head = make("header");
  const margin = item.margin === null ? "" : `${data.margin} ${format(item.margin)}`;
  head.append(make("span", "outcome", item.outcome), make("span", "margin", margin));
  head.append(make("span", "origin", `${item.source} / ${item.id} / row ${item.row}`));
  const question = make("div", "question");
  question.append(...item.images.map((place, number) => picture(place, number + 1)), passage([[item.prompt, false]]));
  const answers = make("div", "answers");
  const parts = item.answers.length === 2 ? compared(item.answers.map((answer) => answer[1])) : [];
  answers.append(...item.answers.map((answer, place) => response(answer, parts[place])));
  box.append(head);
  if (item.failure) box.append(make("p", "note", item.failure));
  box.append(question, answers);
  return box;
}

// Cards are made when the reader comes near the end of those that are there.
function extend() {
  cards.append(...found.slice(shown, shown + STEP).map(card));
  shown = Math.min(found.length, shown + STEP);
  end.hidden = shown === found.length;
}

function update() {
  const words = search.value.toLowerCase();
  found = data.items.filter((item) => (!source.value || item.source === source.value)
    && (!outcome.value || item.outcome === outcome.value) && (!kind.value || item.kind === kind.value) && item.words.includes(words));
  found.sort(ORDERS[order.value]);
  count.textContent = `${found.length} of ${data.items.length}`;
  cards.replaceChildren();
  shown = 0;
  extend();
}

for (const [place, [select, key]] of [[source, "source"], [outcome, "outcome"], [kind, "kind"]].entries())
  fill(select, data.filters[place], key);
order.append(...Object.keys(ORDERS).map((name) => make("option", "", name)));
if (data.order) order.value = data.order;
for (const select of [source, outcome, kind, order]) select.addEventListener("change", update);
search.addEventListener("input", update);
new IntersectionObserver(([entry]) => { if (entry.isIntersecting && shown < found.length) extend(); },
  { rootMargin: "1200px" }).observe(end);
document.querySelector(".tools").hidden = false;
update();
