// The page: takes a transcript or a table, has it coded a few excerpts at a time, and shows and saves the codings.
// Text from users goes into the page as text (textContent), never as markup.

import { findParagraphs, findTurns, hasWords, readTable, writeCsv } from "./transcript.js";

const CHUNK = 64; // excerpts a request: progress is seen, and others get their turn
const CHUNK_CHARACTERS = 500_000;
const SHOWN = 1000; // rows of the table on the page; downloads have all
const LIKELY = 0.05; // codes not given are shown from this probability on

const $ = (id) => document.getElementById(id);
let codebook = null;
let model = null; // name@version
let codings = []; // records with text, in order
let running = null; // AbortController of the run

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("stop").addEventListener("click", () => running?.abort());
$("csv").addEventListener("click", () => save("codings.csv", "text/csv", writeCsv(table())));
$("jsonl").addEventListener("click", () =>
  save("codings.jsonl", "application/jsonl", codings.map((record) => JSON.stringify(record) + "\n").join("")),
);

async function run() {
  if (running) return;
  running = new AbortController();
  $("start").disabled = true;
  $("stop").hidden = false;
  try {
    const rows = await readRows();
    say("Asking the server for its codebook and its model …");
    codebook = await ask("v1/codebook");
    const { name, version } = await ask("v1/model");
    model = `${name}@${version}`;
    begin();
    $("progress").hidden = false;
    let said = 0;
    for (const chunk of chunks(rows)) {
      await code(chunk);
      $("progress").value = codings.length / rows.length;
      // Screen readers read the status out: every tenth of the way is enough.
      if ($("progress").value >= said + 0.1) {
        said = $("progress").value;
        say(`${codings.length} of ${rows.length} excerpts are coded.`);
      }
    }
    const without = codings.filter((record) => record.error).length;
    say(
      `Done: ${codings.length - without} excerpts are coded.` +
        (without ? ` ${without} could not be; the tables say why.` : ""),
    );
    $("results-title").focus();
  } catch (error) {
    const rest = codings.length ? ` The ${codings.length} excerpts before it are below.` : "";
    say((error.name === "AbortError" ? "Stopped." : sentence(error)) + rest);
  } finally {
    finish();
    running = null;
    $("start").disabled = false;
    $("stop").hidden = true;
    $("progress").hidden = true;
  }
}

function sentence(error) {
  return error instanceof TypeError ? "The server cannot be reached; is it still running?" : error.message;
}

// --- what is to be coded ---------------------------------------------------------------------------------------

async function readRows() {
  codings = [];
  const file = $("file").files[0];
  let content = $("text").value;
  if (file) {
    try {
      content = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    } catch {
      throw new Error("The file is not text in UTF-8; save it as .txt or .csv in UTF-8 and choose it again.");
    }
  }
  let rows;
  if (file && file.name.toLowerCase().endsWith(".csv")) {
    rows = readTable(content);
  } else {
    const name = file ? file.name.replace(/\.[^.]*$/u, "") : null;
    const turns = document.querySelector("input[name=unit]:checked").value === "turn" ? findTurns : findParagraphs;
    rows = turns(content.replace(/^\ufeff/u, "")).map((turn, i) => ({
      id: null, document: name, speaker: turn.speaker, turn: i + 1, text: turn.text,
    }));
  }
  const skip = new Set($("skip").value.split(",").map((name) => name.trim().toLowerCase()).filter(Boolean));
  rows = rows
    .map((row) => ({ ...row, text: row.text.toWellFormed?.() ?? row.text }))
    .filter((row) => !skip.has(row.speaker?.toLowerCase()));
  if (!rows.length) throw new Error("There is nothing to code: choose a file, or put a text into the field.");
  return rows;
}

function* chunks(rows) {
  let chunk = [];
  let characters = 0;
  for (const row of rows) {
    if (chunk.length && (chunk.length === CHUNK || characters + row.text.length > CHUNK_CHARACTERS)) {
      yield chunk;
      chunk = [];
      characters = 0;
    }
    chunk.push(row);
    characters += row.text.length;
  }
  if (chunk.length) yield chunk;
}

// --- asking the server -----------------------------------------------------------------------------------------

async function code(chunk) {
  const reasons = new Map(chunk.filter((row) => !hasWords(row.text)).map((row) => [row, "the text has no words"]));
  let predictions = new Map();
  for (;;) {
    const rows = chunk.filter((row) => !reasons.has(row));
    if (!rows.length) break;
    try {
      const answer = await ask("v1/classify", { excerpts: rows });
      predictions = new Map(rows.map((row, i) => [row, answer.predictions[i]]));
      break;
    } catch (error) {
      // The server may find fault with a few excerpts: they are left out, the others are coded.
      const bad = (error.errors ?? []).map((place) => [/^#\/excerpts\/(\d+)\//u.exec(place.pointer)?.[1], place.detail]);
      if (!bad.length || bad.some(([index]) => index === undefined)) throw error;
      for (const [index, detail] of bad) reasons.set(rows[Number(index)], detail.replace(/^\S+ (.*)\.$/u, "the text $1"));
    }
  }
  const records = chunk.map(({ id, document, speaker, turn, text }, i) => {
    const about = { id, document, speaker, turn, text };
    const prediction = predictions.get(chunk[i]);
    if (!prediction) {
      return { ...about, codes: null, groups: null, probabilities: null, model, error: reasons.get(chunk[i]) };
    }
    const { codes, groups, probabilities, model: by } = prediction;
    return { ...about, codes, groups, probabilities, model: by };
  });
  codings.push(...records);
  show(records);
}

async function ask(address, body) {
  for (;;) {
    const headers = {};
    if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
    if (body) headers["Content-Type"] = "application/json";
    const response = await fetch(address, {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal: running.signal,
      credentials: "omit",
    });
    if (response.ok) return response.json();
    const problem = await response.json().catch(() => ({}));
    if (response.status === 503 && problem.type === "urn:tl-classifier:problem:busy") {
      await pause(Number(response.headers.get("Retry-After")) || 1);
      continue;
    }
    if (response.status === 401) {
      $("key-field").hidden = false;
      $("key").focus();
    }
    const error = new Error(problem.detail ?? `The server answered ${response.status}.`);
    error.errors = problem.errors;
    throw error;
  }
}

function pause(seconds) {
  say(`The server is busy; asking again in ${seconds} s.`);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    running.signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(running.signal.reason);
    }, { once: true });
  });
}

// --- showing ---------------------------------------------------------------------------------------------------

function say(text) {
  $("status").textContent = text;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function column(text) {
  const head = element("th", text);
  head.scope = "col";
  return head;
}

function begin() {
  $("results").hidden = true;
  $("model").textContent = `Coded by ${model}.`;
  $("counts").replaceChildren();
  $("rows").replaceChildren();
  $("head").replaceChildren(...["Turn", "Speaker", "Excerpt", ...codebook.dimensions.map((d) => d.name)].map(column));
}

function show(records) {
  const room = SHOWN - $("rows").childElementCount;
  $("rows").append(...records.slice(0, Math.max(room, 0)).map(showRow));
  $("results").hidden = false;
}

function showRow(record) {
  const row = element("tr");
  row.append(element("td", record.turn ?? record.id ?? "", "number"), element("td", record.speaker ?? ""));
  row.append(element("td", record.text, "text"));
  if (record.error) {
    const cell = element("td", `Not coded: ${record.error}.`);
    cell.colSpan = codebook.dimensions.length;
    row.append(cell);
    return row;
  }
  for (const dimension of codebook.dimensions) row.append(showCodes(dimension, record));
  return row;
}

function showCodes(dimension, record) {
  const cell = element("td");
  const probability = record.probabilities[dimension.id];
  const given = record.codes[dimension.id];
  if (given.length) cell.append(list(dimension, given, probability));
  else cell.append(element("span", "none"));
  const others = Object.keys(probability)
    .filter((id) => !given.includes(id) && probability[id] >= LIKELY)
    .sort((a, b) => probability[b] - probability[a]);
  if (others.length) {
    const more = element("details");
    more.append(element("summary", "less likely"), list(dimension, others, probability));
    cell.append(more);
  }
  return cell;
}

function list(dimension, codes, probability) {
  const names = new Map(dimension.codes.map((code) => [code.id, code.name]));
  const made = element("ul");
  for (const id of codes) {
    const item = element("li", `${names.get(id) ?? id} `);
    item.append(element("span", probability[id].toFixed(2), "p"));
    made.append(item);
  }
  return made;
}

function finish() {
  if (!codings.length || !codebook) return;
  const rows = [];
  for (const dimension of codebook.dimensions) {
    const head = element("tr");
    const name = element("th", dimension.name);
    name.scope = "colgroup";
    name.colSpan = 3;
    head.append(name);
    rows.push(head);
    for (const { id, name, definition } of dimension.codes) {
      const times = codings.filter((record) => record.codes?.[dimension.id].includes(id)).length;
      const row = element("tr");
      const title = element("th", name);
      title.scope = "row";
      row.append(title, element("td", times, "number"), element("td", definition));
      rows.push(row);
    }
  }
  $("counts").replaceChildren(...rows);
  $("shown").textContent =
    codings.length > SHOWN ? `The first ${SHOWN} of ${codings.length} are shown; the downloads have all.` : "";
}

// --- saving: the columns and records of `tl-classifier score` ----------------------------------------------------

function table() {
  const about = ["id", "document", "speaker", "turn", "text"];
  const codes = codebook.dimensions.flatMap((d) => d.codes.map((code) => [d.id, code.id]));
  const groups = codebook.dimensions.flatMap((d) => (d.groups ?? []).map((group) => [d.id, group.id]));
  const header = [
    ...about,
    ...[...codes, ...groups].map((path) => path.join(".")),
    ...codes.map((path) => `p.${path.join(".")}`),
    "model",
    "error",
  ];
  const row = (record) => [
    ...about.map((name) => record[name]),
    ...codes.map(([d, id]) => record.codes && Number(record.codes[d].includes(id))),
    ...groups.map(([d, id]) => record.groups && Number(record.groups[d].includes(id))),
    ...codes.map(([d, id]) => record.probabilities && record.probabilities[d][id]),
    record.model,
    record.error,
  ];
  return [header, ...codings.map(row)];
}

function save(name, type, content) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([content], { type: `${type};charset=utf-8` }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
