"use strict";

// Responses are untrusted text: they are put on the page as text alone, never as markup.
const find = (id) => document.getElementById(id);
const images = [];
let card = null;

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function addResponse(text = "") {
  const place = find("responses").children.length + 1;
  const area = make("textarea", { rows: 2, value: text, placeholder: `Response ${place}` });
  area.setAttribute("aria-label", `Response ${place}`);
  find("responses").append(make("div", { className: "response" }, area));
}

function tell(text, isError = false) {
  find("status").textContent = text;
  find("status").className = isError ? "error" : "";
}

function readFile(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function addImages(files) {
  for (const file of files) {
    const address = await readFile(file);
    images.push(address);
    find("images").append(make("img", { src: address, alt: file.name }));
  }
  find("hint").hidden = images.length > 0;
}

function clearImages() {
  images.length = 0;
  find("images").replaceChildren();
  find("hint").hidden = false;
  find("file").value = "";
}

function group(prompt, responses, shown) {
  const parts = shown.map((url) => ({ type: "image_url", image_url: { url } }));
  return { messages: [{ role: "user", content: [...parts, { type: "text", text: prompt }] }], responses };
}

async function post(path, body) {
  const reply = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.error.message);
  return answer;
}

// For each group, what to show for each response: a number that a bar is drawn for, and a text.
async function ask(groups) {
  if (card.kind === "judge") {
    const answer = await post("/v1/compare", { questions: groups });
    return answer.verdicts.map((verdict, at) => groups[at].responses.map((_, place) => {
      if (verdict === null) return { text: reasonOf(answer.errors, at) };
      const share = verdict.probabilities?.[place];
      const text = verdict.choice === place ? "chosen" : typeof verdict.choice === "string" ? verdict.choice : "";
      return { value: share ?? Number(verdict.choice === place), text, said: place === 0 ? verdict.text : "" };
    }));
  }
  const answer = await post("/v1/score", { groups });
  return answer.rewards.map((rewards, at) => rewards.map((value, place) => value === null
    ? { text: reasonOf(answer.errors, at, place) }
    : { value, text: value.toFixed(4) }));
}

function reasonOf(errors, at, place = null) {
  return errors.find((error) => error.group === at && error.response === place).message;
}

function cells(column) {
  const values = column.map((one) => one.value).filter((value) => value !== undefined);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const reach = Math.max(...values.map((value) => Math.abs(value - mean)));
  return column.map(({ value, text, said }) => {
    const cell = make("td", {}, make("span", { textContent: text, title: said || "" }));
    if (value === undefined) return cell;
    const length = reach > 0 ? (50 * Math.abs(value - mean)) / reach : 0;
    const bar = make("i", { className: value >= mean ? "up" : "down" });
    bar.style.width = `${length}%`;
    cell.append(make("div", { className: "bar" }, bar));
    return cell;
  });
}

function show(responses, columns) {
  const best = Math.max(...columns[0].map((one) => one.value ?? -Infinity));
  const drawn = columns.map(cells);
  find("without").hidden = columns.length < 2;
  find("with").textContent = columns.length < 2 ? "Without an image" : "With the images";
  find("rows").replaceChildren(...responses.map((response, place) => make(
    "tr",
    { className: columns[0][place].value === best ? "best" : "" },
    make("td", { textContent: response }),
    ...drawn.map((column) => column[place]),
  )));
  find("results").hidden = false;
}

async function score() {
  const responses = [...document.querySelectorAll("#responses textarea")].map((area) => area.value).filter(Boolean);
  if (responses.length < 2) throw new Error("Write two responses or more.");
  const prompt = find("prompt").value;
  const groups = [group(prompt, responses, images)];
  if (images.length) groups.push(group(prompt, responses, []));
  show(responses, await ask(groups));
}

async function submit(event) {
  event.preventDefault();
  find("score").disabled = true;
  tell("scoring ...");
  try {
    await score();
    tell("");
  } catch (error) {
    tell(error.message, true);
  } finally {
    find("score").disabled = false;
  }
}

async function start() {
  addResponse();
  addResponse();
  find("add").addEventListener("click", () => addResponse());
  find("clear").addEventListener("click", clearImages);
  find("file").addEventListener("change", (event) => addImages(event.target.files));
  find("form").addEventListener("submit", submit);
  const drop = find("drop");
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    addImages(event.dataTransfer.files);
  });
  const reply = await fetch("/v1/models");
  card = (await reply.json()).data[0];
  const sight = card.sees_images ? "sees images" : "reads text only";
  find("model").textContent = `${card.kind} ${card.id}, ${sight}`;
  find("drop").hidden = find("clear").hidden = !card.sees_images;
}

start().catch((error) => tell(error.message, true));
