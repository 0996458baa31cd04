// From what a user brings to rows to be coded: turns of a transcript, paragraphs, or rows of a table.
// Turns are found by the rules of tl_classifier/corpus/transcripts.py.

const ROLES = new Set([
  "coach", "facilitator", "host", "interviewee", "interviewer", "moderator", "participant", "researcher",
  "respondent", "speaker",
]);
const CANDIDATE = /^[^\S\r\n]*([^\s:][^:\r\n]{0,39}?)[^\S\r\n]*:(?=\s|$)/u;
const WORD = /^(?:\(?[\p{L}\p{N}_][\p{L}\p{N}_'’/&#-]*\)?|[\p{L}\p{N}_]{1,4}\.)$/u;
const CODE = /^\p{L}{1,4}\p{Nd}{1,3}(?:[-_/]?\p{L}{0,3}\p{Nd}{0,3})$/u;
const PARAGRAPH_END = /(?:\r\n|\r|\n)(?:[^\S\r\n]*(?:\r\n|\r|\n))+/u;

/** Whether there is something to code in a text: a letter or a digit. */
export function hasWords(text) {
  return /[\p{L}\p{N}]/u.test(text);
}

/** The turns of a transcript as {speaker, text}; paragraphs, without a speaker, where no line has a label. */
export function findTurns(text) {
  const labels = findLabels(text);
  if (!labels.length) return findParagraphs(text);
  const turns = [];
  const before = text.slice(0, labels[0].start).trim();
  if (before) turns.push({ speaker: null, text: before });
  labels.forEach((label, i) => {
    const end = i + 1 < labels.length ? labels[i + 1].start : text.length;
    turns.push({ speaker: label.name.split(/\s+/u).join(" "), text: text.slice(label.end, end).trim() });
  });
  return turns;
}

/** The paragraphs of a text as {speaker: null, text}. */
export function findParagraphs(text) {
  return text
    .split(PARAGRAPH_END)
    .map((paragraph) => ({ speaker: null, text: paragraph.trim() }))
    .filter((turn) => turn.text);
}

function findLabels(text) {
  const candidates = [];
  for (const line of text.matchAll(/[^\r\n]+/gu)) {
    const match = CANDIDATE.exec(line[0]);
    if (match && mayBeLabel(match[1])) {
      candidates.push({ name: match[1], start: line.index, end: line.index + match[0].length });
    }
  }
  const times = new Map();
  for (const { name } of candidates) times.set(folded(name), (times.get(folded(name)) ?? 0) + 1);
  const labels = candidates.filter(({ name }) => isCertain(name) || times.get(folded(name)) > 1);
  return labels.length === 1 && text.slice(0, labels[0].start).trim() ? [] : labels;
}

function mayBeLabel(name) {
  const words = name.trim().split(/\s+/u);
  if (words.length > 4 || !words.every((word) => WORD.test(word)) || !/\p{L}/u.test(name)) return false;
  return !/^\p{Ll}/u.test(name) || isCertain(name);
}

function isCertain(name) {
  const [first, ...others] = name.trim().split(/\s+/u);
  if (ROLES.has(first.toLowerCase()) && others.every((word) => /^(?:.|\p{Nd}+)$/u.test(word))) return true;
  return (name === name.toUpperCase() && name !== name.toLowerCase()) || CODE.test(name);
}

function folded(name) {
  return name.trim().toLowerCase().split(/\s+/u).join(" ");
}

/** The rows of a .csv with a column `text` as {id, document, speaker, turn, text}; missing columns are null. */
export function readTable(content) {
  const [header = [], ...rows] = parseCsv(content.replace(/^\ufeff/u, ""));
  const at = new Map(header.map((name, i) => [name.trim().toLowerCase(), i]));
  if (!at.has("text")) throw new Error("The table has no column named text; its first row must have one.");
  const cell = (row, name) => (row[at.get(name) ?? -1] ?? "").trim() || null;
  return rows
    .filter((row) => row.some((value) => value.trim()))
    .map((row) => {
      const turn = cell(row, "turn");
      return {
        id: cell(row, "id"),
        document: cell(row, "document"),
        speaker: cell(row, "speaker"),
        turn: turn !== null && /^\d{1,15}$/u.test(turn) ? Number(turn) : null,
        text: row[at.get("text")] ?? "",
      };
    });
}

/** The cells of a .csv (RFC 4180); cells are parted by what parts most of the first line: comma, semicolon or tab. */
export function parseCsv(content) {
  const line = /^[^\r\n]*/u.exec(content)[0];
  const delimiter = [",", ";", "\t"].reduce((a, b) => (line.split(b).length > line.split(a).length ? b : a));
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < content.length; i++) {
    const c = content[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (content[i + 1] === '"') cell += content[i++];
      else quoted = false;
    } else if (c === '"' && cell === "") {
      quoted = true;
    } else if (c === delimiter) {
      row.push(cell);
      cell = "";
    } else if (c === "\n" || c === "\r") {
      if (c === "\r" && content[i + 1] === "\n") i++;
      rows.push([...row, cell]);
      row = [];
      cell = "";
    } else {
      cell += c;
    }
  }
  if (quoted) throw new Error("The table ends within quotation marks; it is not whole, or not a .csv.");
  if (cell !== "" || row.length) rows.push([...row, cell]);
  return rows;
}

/** A table as .csv: UTF-8 with a byte order mark, as Excel needs it. */
export function writeCsv(rows) {
  const quote = (value) => {
    const cell = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/u.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
  };
  return "\ufeff" + rows.map((row) => row.map(quote).join(",") + "\r\n").join("");
}
