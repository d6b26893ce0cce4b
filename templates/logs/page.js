// The page of `inv logs web`. Everything from a board is inserted as text, never as HTML.

const MOST_ROWS = 5000;
const PAGE = 200;
const SCREENFUL = 60;
const CUT = 1500; // characters of a message that a row shows
const NEAR = 24; // pixels from the end that still count as being there

const FILTERS = ["board", "container", "severity", "since", "until", "q"];
const RANGES = ["", "15min", "1h", "24h"];
const FACILITIES = [
  "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
  "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
  "local5", "local6", "local7",
];

const LEFT = "\\u0590-\\u08ff\\ufb1d-\\ufdff\\ufe70-\\ufefc\\u{10800}-\\u{10fff}\\u{1e800}-\\u{1efff}";
const LEFTWARDS = new RegExp(`[${LEFT}]+(?: +[${LEFT}]+)*`, "gu");

const $ = (id) => document.getElementById(id);
const log = $("log");
const rows = $("rows");

let filters = {}; // what is shown; the address bar says the same
let live = true;
let older = null; // the cursor of what is older than the first row; null: nothing is
let newest = null; // the cursor behind the last record that was taken
let detached = false; // rows at the end were dropped: the stream cannot go on behind the last
let loading = null; // the AbortController of what is being fetched
let stream = null;
let retry = 0;
let current = null; // the row that the keys are at
let detailed = null; // the row whose details were shown last
let unseen = 0;
let hits = null; // the search as a regular expression
let boards = [];
const seen = { containers: new Set(), programs: new Set() };

// ---- The address bar ----

function readAddress() {
  const given = new URLSearchParams(location.search);
  filters = Object.fromEntries(FILTERS.map((name) => [name, given.get(name) ?? ""]));
  live = given.get("live") !== "0";
  const escaped = filters.q.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  hits = filters.q ? new RegExp(escaped, "giu") : null;
}

function address(changes = {}) {
  const wanted = { ...filters, live: live ? "" : "0", ...changes };
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  return query.size ? `${location.pathname}?${query}` : location.pathname;
}

function go(changes, { replace = false } = {}) {
  const target = address(changes);
  if (target === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", target);
  show();
}

function show() {
  readAddress();
  showFilters();
  showSources();
  load();
}

// ---- Filters ----

function showFilters() {
  if ($("q").value !== filters.q) $("q").value = filters.q;
  offer($("severity"), filters.severity, `${filters.severity} and above`);
  const relative = !filters.until && !/[-:]/.test(filters.since);
  if (relative) offer($("range"), filters.since, `Last ${filters.since}`);
  else $("range").value = "custom";
  for (const id of ["since", "until"]) {
    const text = relative ? "" : toLocal(filters[id]);
    if ($(id).value !== text) $(id).value = text;
  }
  $("span").hidden = relative;
  document.body.classList.toggle("one-board", filters.board !== "");
  document.title = [filters.container, filters.board, "Logs – Bootwright"].filter(Boolean).join(" · ");
  showLive();
}

/** Select a value of a list; it is added if the list does not have it. */
function offer(list, value, words) {
  if (![...list.options].some((option) => option.value === value)) list.add(new Option(words, value));
  list.value = value;
}

function showLive() {
  const possible = !filters.until;
  $("live").disabled = !possible;
  $("live").title = possible ? "" : "The time range has an end";
  $("live").setAttribute("aria-pressed", String(live && possible));
  $("live-word").textContent = live && possible ? "on" : "off";
}

const two = (number, digits = 2) => String(number).padStart(digits, "0");
const dayOf = (when) => `${two(when.getMonth() + 1)}-${two(when.getDate())}`;
const minuteOf = (when) => `${two(when.getHours())}:${two(when.getMinutes())}`;

function toLocal(text) {
  const when = new Date(text);
  return Number.isNaN(when.getTime()) ? "" : `${two(when.getFullYear(), 4)}-${dayOf(when)}T${minuteOf(when)}`;
}

const fromLocal = (text) => (text ? new Date(text).toISOString() : "");

let typing = 0;
let burst = false; // of keystrokes, which is one step of the history
$("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, 250);
});
$("q").addEventListener("change", () => {
  search();
  burst = false;
});

function search() {
  clearTimeout(typing);
  if ($("q").value === filters.q) return;
  go({ q: $("q").value }, { replace: burst });
  burst = true;
}

$("filters").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
$("severity").addEventListener("change", () => go({ severity: $("severity").value }));
$("range").addEventListener("change", () => {
  if ($("range").value !== "custom") go({ since: $("range").value, until: "" });
  else {
    $("span").hidden = false;
    $("since").focus();
  }
});
for (const id of ["since", "until"]) {
  $(id).addEventListener("change", () => {
    clearTimeout(dating);
    dating = setTimeout(goSpan, 600);
  });
}

// Each typed digit of a year gives a valid date.
let dating = 0;

function goSpan() {
  go({ since: fromLocal($("since").value), until: fromLocal($("until").value) });
}

// ---- Boards and containers ----

async function loadSources() {
  try {
    boards = (await ask("api/boards", {})).boards;
    showSources();
  } catch {
    // Errors of the connection are shown when records are fetched.
  }
}

function showSources() {
  const shown = boards.filter((board) => !filters.board || board.name === filters.board);
  const of = (kind) => [...new Set([...shown.flatMap((board) => board[kind]), ...seen[kind]])].sort();
  const [containers, programs] = [of("containers"), of("programs")];
  if (filters.container && ![...containers, ...programs].includes(filters.container)) {
    containers.unshift(filters.container);
  }
  const names = boards.map((board) => board.name);
  if (filters.board && !names.includes(filters.board)) names.unshift(filters.board);
  const known = new Map(boards.map((board) => [board.name, board]));
  fill($("boards"), [
    source("All boards", { board: "", container: "" }, !filters.board),
    ...names.map((name) =>
      source(name, { board: name, container: "" }, name === filters.board, known.get(name))),
  ]);
  for (const [kind, list] of [["containers", containers], ["programs", programs]]) {
    $(kind).hidden = $(`${kind}-title`).hidden = !list.length;
    fill($(kind), list.map((name) => {
      const chosen = name === filters.container;
      return source(name, { container: chosen ? "" : name }, chosen);
    }));
  }
  $("sources-button").textContent =
    [filters.board || "All boards", filters.container].filter(Boolean).join(" · ");
}

/** Replace a list's items, and keep the focus where it was. */
function fill(list, items) {
  const name = list.contains(document.activeElement) ? document.activeElement.title : null;
  list.replaceChildren(...items);
  if (name !== null) [...list.querySelectorAll("a")].find((link) => link.title === name)?.focus();
}

function source(name, changes, chosen, board) {
  const item = element("li");
  const link = item.appendChild(element("a"));
  link.href = address(changes);
  link.title = name;
  if (chosen) link.setAttribute("aria-current", "true");
  link.append(element("span", "name", name));
  if (board?.last) link.append(element("span", "when", ago(board.last)));
  if (board?.trouble) link.append(element("span", "trouble", board.trouble));
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openSources(false);
    go(changes);
  });
  return item;
}

function ago(time) {
  const seconds = (Date.now() - new Date(time)) / 1000;
  if (seconds < -60) return "ahead";
  if (seconds < 60) return "now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}

function openSources(open) {
  $("sources").classList.toggle("open", open);
  $("sources-button").setAttribute("aria-expanded", String(open));
}
$("sources-button").addEventListener("click", () =>
  openSources($("sources-button").getAttribute("aria-expanded") !== "true"));

// ---- Records ----

class Refused extends Error {}

async function ask(path, wanted, signal) {
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  const answer = await fetch(`${path}?${query}`, { signal });
  if (!answer.ok) throw new Refused((await answer.text()).trim());
  return answer.json();
}

/** Fetch the records again, with the current filters. */
async function load() {
  closeStream();
  clearTimeout(retry);
  showStatus("loading", "Loading…");
  detached = false;
  await fetchOlder(true);
}

/** Add older records above the first row; with `replaceAll`, in place of all rows. */
async function fetchOlder(replaceAll = false) {
  if (!replaceAll && (loading || older === null)) return;
  loading?.abort();
  const mine = (loading = new AbortController());
  const wanted = replaceAll ? SCREENFUL : rows.children.length + SCREENFUL;
  let first = replaceAll;
  try {
    do {
      $("older").hidden = true;
      const before = first ? "" : older;
      const page = await ask("api/records", { ...filters, before, limit: first ? PAGE : 2 * PAGE }, mine.signal);
      if (mine.signal.aborted) return;
      const atEnd = first || isAtEnd();
      if (first) {
        clear();
        newest = page.newest;
      }
      older = page.before;
      prepend(page.records);
      if (atEnd) toEnd();
      if (first) follow();
      first = false;
      const on = older !== null && rows.children.length < wanted;
      $("stop").hidden = !on;
      $("reached").textContent = on && page.reached ? `Searched back to ${full(page.reached)} …` : "";
    } while (older !== null && rows.children.length < wanted);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error instanceof Refused) showStatus("refused", error.message);
    else if (!first) showStatus("lost", "The server does not answer.");
    else {
      showStatus("lost", "The server does not answer; trying again …");
      retry = setTimeout(load, 2000);
    }
  } finally {
    if (loading === mine) {
      loading = null;
      showTop();
    }
  }
}

/** Show the text above the rows, or in place of them. */
function showTop() {
  const none = rows.children.length === 0;
  $("empty").hidden = !none || newest === null || loading !== null;
  const filtered = FILTERS.some((name) => filters[name]);
  $("empty").textContent = filtered ? "No record fits these filters." : "No board has sent anything yet.";
  const number = rows.children.length;
  $("count").textContent = `${number.toLocaleString("en")} ${number === 1 ? "record" : "records"}`;
  if (loading) return;
  $("stop").hidden = true;
  $("older").hidden = older === null;
  if (older === null) $("reached").textContent = none ? "" : "This is where the log begins.";
  else if (!none) $("reached").textContent = "";
}

function clear() {
  rows.replaceChildren();
  current = null;
  unseen = 0;
  seen.containers.clear();
  seen.programs.clear();
  $("jump").hidden = true;
}

$("older").addEventListener("click", () => fetchOlder());
$("stop").addEventListener("click", () => {
  loading?.abort();
  loading = null;
  showTop();
});

let lastTop = 0;
log.addEventListener("scroll", () => {
  const up = log.scrollTop < lastTop;
  lastTop = log.scrollTop;
  if (up && log.scrollTop < 200) fetchOlder();
  if (isAtEnd()) {
    unseen = 0;
    $("jump").hidden = true;
  }
}, { passive: true });

const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;

function toEnd() {
  log.scrollTop = log.scrollHeight;
  lastTop = log.scrollTop;
}

let stays = true;
new ResizeObserver(() => stays && toEnd()).observe(log);
log.addEventListener("scroll", () => { stays = isAtEnd(); }, { passive: true });

function prepend(records) {
  if (!records.length) return;
  const before = log.scrollHeight;
  const added = records.map(row).reverse();
  // The cursor to continue from if all rows above this one are removed.
  added[0].older = older;
  rows.prepend(...added);
  log.scrollTop += log.scrollHeight - before;
  lastTop = log.scrollTop;
  if (rows.children.length > MOST_ROWS) {
    while (rows.children.length > MOST_ROWS) drop(rows.lastElementChild);
    detached = true;
    if (live) setLive(false);
  }
  noteSources(records);
  current ??= rows.lastElementChild;
  current.tabIndex = 0;
}

function append(records, behind) {
  if (records.length > MOST_ROWS / 2) {
    load();
    return false;
  }
  const atEnd = isAtEnd();
  if (!atEnd && rows.children.length + records.length > MOST_ROWS) {
    // Removing rows that are being read would be worse than missing new ones.
    setLive(false);
    return false;
  }
  const added = records.map(row);
  added[0].older = behind;
  rows.append(...added);
  while (rows.children.length > MOST_ROWS || dangling()) {
    drop(rows.firstElementChild);
    if (!dangling()) older = rows.firstElementChild.older;
  }
  noteSources(records);
  current ??= rows.lastElementChild;
  current.tabIndex = 0;
  if (atEnd) toEnd();
  else {
    unseen += records.length;
    $("jump").textContent = `${unseen} new ↓`;
    $("jump").hidden = false;
  }
  showTop();
  return true;
}

/** Return whether rows above the first one were removed, so that no cursor leads to it. */
const dangling = () => rows.firstElementChild?.older === undefined && rows.children.length > 0;

function drop(item) {
  if (item === current) {
    const focused = item === document.activeElement;
    current = item.nextElementSibling ?? item.previousElementSibling;
    current.tabIndex = 0;
    if (focused) current.focus({ preventScroll: true });
  }
  item.remove();
}

function noteSources(records) {
  let replaceAll = false;
  for (const record of records) {
    const [set, name] = record.container
      ? [seen.containers, record.container.name] : [seen.programs, record.app];
    if (name && !set.has(name)) {
      set.add(name);
      replaceAll = true;
    }
  }
  if (replaceAll) showSources();
}

$("jump").addEventListener("click", () => {
  toEnd();
  focusRow(rows.lastElementChild);
});

// ---- A row ----

function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

const lostWords = (number) => `${number} ${number === 1 ? "record" : "records"} lost`;

function row(record) {
  const item = element("li", record.severity);
  item.record = record;
  item.tabIndex = -1;
  const time = item.appendChild(element("time"));
  if (record.time) {
    const when = new Date(record.time);
    time.dateTime = record.time;
    time.append(
      element("span", "day", `${dayOf(when)} `),
      `${minuteOf(when)}:${two(when.getSeconds())}`,
      element("span", "fraction", `.${two(when.getMilliseconds(), 3)}`));
  } else time.textContent = "no time";
  item.append(" ", element("span", "severity", record.severity), " ");
  item.append(element("span", "board", record.board), " ");
  item.append(element("span", "source", record.container?.name || record.app), " ");
  const text = item.appendChild(element("span", "text"));
  if (record.lost) {
    item.classList.add("gap");
    text.append(element("strong", "lost", lostWords(record.lost)));
  }
  const message = text.appendChild(element("span"));
  if (record.text.length <= CUT) mark(message, record.text);
  else cut(text, message, record.text);
  return item;
}

function cut(text, message, whole) {
  const button = text.appendChild(element("button", "more"));
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  const showPart = () => {
    const open = button.getAttribute("aria-expanded") === "true";
    mark(message, open ? whole : `${whole.slice(0, CUT)}…`);
    button.textContent = open ? "Show less" : `Show all ${whole.length.toLocaleString("en")} characters`;
  };
  button.addEventListener("click", () => {
    button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
    showPart();
  });
  showPart();
}

/** Put a text into an element, with the search term highlighted. */
function mark(target, text) {
  target.textContent = "";
  let at = 0;
  for (const hit of hits ? text.matchAll(hits) : []) {
    put(target, text.slice(at, hit.index));
    put(target.appendChild(element("mark")), hit[0]);
    at = hit.index + hit[0].length;
  }
  put(target, text.slice(at));
}

/** Add a text; right-to-left text in it does not change the order of its surroundings. */
function put(target, text) {
  let at = 0;
  for (const part of text.matchAll(LEFTWARDS)) {
    target.append(text.slice(at, part.index), element("bdi", "", part[0]));
    at = part.index + part[0].length;
  }
  target.append(text.slice(at));
}

// ---- Live ----

function showStatus(kind, words) {
  document.body.dataset.link = kind;
  if ($("status").textContent !== words) $("status").textContent = words;
}

function closeStream() {
  stream?.close();
  stream = null;
}

/** Open the stream of records after the last one. */
function follow() {
  closeStream();
  clearTimeout(retry);
  if (newest === null) return;
  if (filters.until) return showStatus("past", "Time range with an end.");
  if (!live) return showStatus("paused", detached ? "Live is off; newer records are not on the page." : "Live is off.");
  if (detached) return load();
  if (document.hidden) return;
  const query = Object.entries({ ...filters, after: newest }).filter(([, value]) => value);
  stream = new EventSource(`api/tail?${new URLSearchParams(query)}`);
  const mine = stream;
  stream.onopen = () => showStatus("live", "Live.");
  stream.addEventListener("records", (event) => {
    if (append(JSON.parse(event.data), newest)) newest = event.lastEventId;
  });
  stream.addEventListener("behind", load);
  stream.addEventListener("problem", (event) => {
    closeStream();
    showStatus("lost", JSON.parse(event.data));
    retry = setTimeout(follow, 5000);
  });
  stream.onerror = async () => {
    showStatus("lost", "The connection broke; trying again …");
    if (mine.readyState !== EventSource.CLOSED) return;
    retry = setTimeout(follow, 3000);
    try {
      await ask("api/records", { ...filters, limit: 1 });
    } catch (error) {
      if (stream === mine && error instanceof Refused) showStatus("refused", error.message);
    }
  };
}

function setLive(on) {
  if (filters.until) return;
  live = on;
  history.replaceState(null, "", address());
  showLive();
  if (!on || newest !== null) follow();
}

$("live").addEventListener("click", () => setLive(!live));

// A browser has six connections for a site; hidden pages close theirs.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) follow();
  else if (stream) closeStream();
});

// ---- Keys and details ----

function focusRow(item) {
  if (!item) return;
  if (current) current.tabIndex = -1;
  current = item;
  current.tabIndex = 0;
  current.focus({ preventScroll: true });
  current.scrollIntoView({ block: "nearest" });
}

rows.addEventListener("focusin", (event) => {
  const item = event.target.closest("li");
  if (item === current) return;
  if (current) current.tabIndex = -1;
  current = item;
  current.tabIndex = 0;
});

rows.addEventListener("click", (event) => {
  const item = event.target.closest("li");
  if (!item || event.target.closest("button") || !getSelection().isCollapsed) return;
  // With a mouse, text can be selected; with touch, this is the only way to open the details.
  if (event.pointerType === "touch" || !event.target.closest(".text")) showDetails(item);
});

/** Move to the next row; the first key press only shows the current row. */
function step(by) {
  const inside = rows.contains(document.activeElement) || $("details").open;
  const next = by > 0 ? current?.nextElementSibling : current?.previousElementSibling;
  if (!inside) focusRow(current ?? rows.lastElementChild);
  else if (next && $("details").open) showDetails(next);
  else if (next) focusRow(next);
  else if (by < 0) fetchOlder();
}

function full(time) {
  const when = new Date(time);
  return `${two(when.getFullYear(), 4)}-${dayOf(when)} ${minuteOf(when)}:${two(when.getSeconds())}`;
}

function showDetails(item) {
  const { record } = item;
  if (current) current.tabIndex = -1;
  current = detailed = item;
  current.tabIndex = 0;
  const { container } = record;
  const fields = [
    ["Time", record.time ? `${full(record.time)}.${two(new Date(record.time).getMilliseconds(), 3)}` : "not known"],
    ["Time in UTC", record.time],
    ["Severity", record.severity],
    ["Facility", `${record.facility} (${FACILITIES[record.facility]})`],
    ["Board", record.board],
    ["Container", container?.name],
    ["Image", container?.image],
    ["Container's id", container?.id],
    [container ? "Tag" : "Program", container?.name === record.app ? "" : record.app],
    ["Process", container?.id === record.process ? "" : record.process],
    ["Number", record.sequence],
    ["Gap", record.lost ? lostWords(record.lost) : ""],
  ];
  $("fields").replaceChildren(...fields
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [element("dt", "", name), element("dd", "", String(value))]));
  mark($("message"), record.text);
  if (!$("details").open) $("details").showModal();
  $("details").scrollTop = 0;
}

function shut(dialog) {
  dialog.close();
  // Here the focus is already back at the row from which the details were opened.
  if (dialog === $("details")) focusRow(detailed.isConnected ? detailed : current);
}

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector(".close").addEventListener("click", () => shut(dialog));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) shut(dialog);
  });
}
$("help-button").addEventListener("click", () => $("help").showModal());

const KEYS = {
  "/": () => {
    $("q").focus();
    $("q").select();
  },
  "?": () => $("help").showModal(),
  l: () => setLive(!live),
  j: () => step(1),
  k: () => step(-1),
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
  Home: () => focusRow(rows.firstElementChild),
  End: () => focusRow(rows.lastElementChild),
  Enter: () => current && showDetails(current),
  Escape: () => openSources(false),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target, key } = event;
  const open = document.querySelector("dialog[open]");
  if (open) {
    if (key === "Escape") {
      event.preventDefault();
      shut(open);
    }
    // Arrows scroll a long message.
    if (open === $("details") && (key === "j" || key === "k")) KEYS[key]();
    return;
  }
  if (target.matches("input, select")) {
    if (key !== "Escape") return;
    event.preventDefault();
    search();
    focusRow(current);
    if (!current) log.focus();
    return;
  }
  const inLog = target === document.body || log.contains(target);
  const named = ["/", "?", "l", "j", "k", "Escape"].includes(key);
  if (!(key in KEYS) || (!named && !inLog)) return;
  if (key === "Enter" && !(target.closest("#rows li") === target || target === document.body)) return;
  event.preventDefault();
  KEYS[key]();
});

// ---- Start ----

addEventListener("popstate", show);
$("zone").textContent = `Times: ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
show();
loadSources();
setInterval(() => document.hidden || loadSources(), 20_000);
