"use strict";
// The sheet of clips, as pictures or as a table: only what is on the screen is in the page.

const CARD_WIDTH = 212, CARD_HEIGHT = 232, ROW_HEIGHT = 36;
const SLOW = 60; // pixels per frame: when the sheet moves faster, pictures wait until it stands
const STANDS_MS = 120;

/** A new element with a class and a text. */
function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Show a preview, moving or as its first frame; without an address say that there is none. */
function showPreview(picture, source, moving) {
  const frame = picture.parentElement;
  frame.querySelector("canvas")?.remove();
  frame.classList.toggle("none", !source);
  picture.hidden = !source;
  if (!source) return;
  picture.onload = moving ? null : () => drawStill(picture);
  picture.onerror = () => { frame.classList.add("none"); picture.hidden = true; };
  picture.src = source;
}

/** Put the first frame of a picture in its place. */
function drawStill(picture) {
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.before(canvas);
  picture.hidden = true;
}

/** What of a clip is shown in words. */
const shownOf = {
  place: (clip) => `${videoName(clip.video)}${clip.start === null ? "" : `, ${clip.start.toFixed(1)} s`}`,
  verdict: (clip) => (clip.reasons.length ? clip.reasons.join(", ") : "kept"),
};

/** The score that a field of the filters names by its place; none for "any" or an order by no score. */
const chosenScore = (id, scores) => scores.find((_, place) => String(place) === byId(id).value);

/** The clips as cards with pictures. */
class Cards {
  constructor(sheet) {
    this.sheet = sheet;
    this.root = element("div", "cards");
    this.root.role = "listbox";
    this.rowHeight = CARD_HEIGHT;
  }

  measure(width, count) {
    this.columns = Math.max(2, Math.floor(width / CARD_WIDTH));
    this.width = width / this.columns;
    this.root.style.height = `${Math.ceil(count / this.columns) * CARD_HEIGHT}px`;
  }

  /** A card; its picture is shown by `reveal`. */
  make(clip, place, count) {
    const card = element("div", "card");
    card.role = "option";
    card.setAttribute("aria-posinset", place + 1);
    card.setAttribute("aria-setsize", count);
    const frame = element("span", "frame");
    const picture = element("img");
    picture.alt = "";
    picture.decoding = "async";
    frame.append(picture);
    card.append(frame, element("span", "caption", clip.caption ?? ""), element("span", "address", shownOf.place(clip)),
      element("span", "numbers", this.sheet.numbers(clip.at)), element("span", "verdict", shownOf.verdict(clip)));
    Object.assign(card.style, {
      left: `${(place % this.columns) * this.width}px`,
      top: `${Math.floor(place / this.columns) * CARD_HEIGHT}px`,
      width: `${this.width}px`,
    });
    return card;
  }

  reveal(card, clip) {
    showPreview(card.querySelector("img"), previewSource(this.sheet.shown.library, clip.preview), byId("moving").checked);
  }

  arrange(cards) {
    const there = new Set(cards);
    [...this.root.children].filter((card) => !there.has(card)).forEach((card) => card.remove());
    this.root.append(...cards.filter((card) => !card.isConnected));
  }

  top(place) {
    return Math.floor(place / this.columns) * CARD_HEIGHT;
  }
}

/** The clips as rows of a table. */
class Rows {
  constructor(sheet) {
    this.sheet = sheet;
    this.root = element("table", "rows");
    this.root.role = "grid";
    this.rowHeight = ROW_HEIGHT;
    this.columns = 1;
    const heads = ["clip", "video", "from", "seconds", "verdict", ...sheet.library.scores.map((score) => score.short), "caption"];
    const head = element("tr");
    head.append(...heads.map((name) => Object.assign(element("th", "", name), { scope: "col" })));
    this.body = element("tbody");
    this.above = element("tr");
    this.below = element("tr");
    [this.above, this.below].forEach((space) => { space.ariaHidden = "true"; });
    const thead = element("thead");
    thead.append(head);
    this.root.append(thead, this.body);
  }

  measure(width, count) {
    this.count = count;
    this.root.setAttribute("aria-rowcount", count + 1);
  }

  make(clip, place) {
    const row = element("tr");
    row.setAttribute("aria-rowindex", place + 2);
    const cells = [clip.id.slice(0, 8), videoName(clip.video), clip.start?.toFixed(1) ?? "", clip.seconds.toFixed(1), shownOf.verdict(clip),
      ...this.sheet.shown.library.scores.map((score) => numberText(score.of[clip.at])), clip.caption ?? ""];
    row.append(...cells.map((text) => element("td", "", text)));
    row.place = place;
    return row;
  }

  reveal() {}

  arrange(rows) {
    const first = rows[0]?.place ?? 0;
    this.above.style.height = `${first * ROW_HEIGHT}px`;
    this.below.style.height = `${(this.count - first - rows.length) * ROW_HEIGHT}px`;
    this.body.replaceChildren(this.above, ...rows, this.below);
  }

  top(place) {
    return place * ROW_HEIGHT;
  }
}

/** The sheet: which clips are shown, in which order, and which of them is active. */
class Sheet {
  constructor(library, gates) {
    Object.assign(this, { library, gates, order: [], made: new Map(), active: 0, lastTop: 0, asked: 0 });
    this.shown = { library, gates };
    this.root = byId("sheet");
    this.layouts = { grid: new Cards(this), table: new Rows(this) };
    this.#prepareChoices();
    this.#prepareEvents();
  }

  #prepareChoices() {
    const option = (value, text) => new Option(text, value);
    const reasons = [...new Set(this.library.clips.reasonSets.flat())].sort();
    byId("reason").append(...reasons.map((reason) => option(reason, reason)));
    for (const id of ["score", "sort"]) {
      byId(id).append(...this.library.scores.map((score, place) => option(String(place), score.short)));
    }
  }

  #prepareEvents() {
    const refresh = oncePerFrame(() => this.refresh());
    let waiting;
    for (const field of [byId("text"), byId("similar")].filter(Boolean)) {
      field.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, field.id === "text" ? 150 : 600); });
    }
    byId("filters").addEventListener("change", refresh);
    byId("filters").addEventListener("reset", () => setTimeout(refresh));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    this.root.addEventListener("scroll", oncePerFrame(() => this.#scrolled()), { passive: true });
    this.root.addEventListener("click", (event) => this.#clicked(event));
    this.root.addEventListener("keydown", (event) => this.#pressed(event));
    new ResizeObserver(oncePerFrame(() => this.#resized())).observe(this.root);
  }

  /** The scores of a clip in one line, the one that is sorted by first. */
  numbers(at) {
    const every = this.shown.library.scores;
    const sorted = chosenScore("sort", every);
    const scores = sorted ? [sorted, ...every.filter((score) => score !== sorted)] : every;
    const known = scores.filter((score) => !Number.isNaN(score.of[at]));
    return known.map((score) => `${score.short} ${numberText(score.of[at])}`).join(" · ");
  }

  /** Show the clips that one gate speaks against. */
  async showReason(reason) {
    byId("filters").reset();
    byId("reason").value = reason;
    await this.refresh();
    byId("clips").scrollIntoView();
    this.layout.root.focus({ preventScroll: true });
  }

  /** Find the clips that the filters leave, in their order, and show the first. */
  async refresh(like = "") {
    const asked = ++this.asked;
    for (const id of ["least", "most"]) byId(id).disabled = byId("score").value === "";
    const answer = await this.#answer(like);
    if (asked !== this.asked) return; // a later question is on its way
    this.shown = answer ?? { library: this.library, gates: this.gates };
    this.order = answer ? answer.library.clips.id.map((_, at) => at) : this.#sorted(this.#left());
    this.layout = this.layouts[byId("view").value];
    this.#describe(answer);
    this.active = 0;
    this.root.scrollTop = 0;
    this.#rebuild();
  }

  /** The server's clips where the page does not hold all that the filters ask for; else nothing. */
  async #answer(like) {
    const { about, size } = this.library;
    const [similar, label] = ["similar", "label"].map((id) => byId(id)?.value.trim() ?? "");
    if (!about.live || (size === about.numClips && !similar && !label && !like)) return null;
    const score = (id) => chosenScore(id, this.library.scores)?.name;
    const bound = (id) => (Number.isNaN(byId(id).valueAsNumber) ? null : byId(id).valueAsNumber);
    try {
      const answer = await askServer("clips", {
        similar, label, like, text: byId("text").value, verdict: byId("verdict").value, reason: byId("reason").value,
        score: score("score"), least: bound("least"), most: bound("most"), sort: score("sort") ?? byId("sort").value,
        descending: byId("descending").checked, moves: movesOf(this.gates),
      });
      return answeredLibrary(this.library, this.gates, answer);
    } catch (error) {
      byId("shown").textContent = error.message;
      throw error;
    }
  }

  #left() {
    const tests = this.#tests();
    const left = [];
    for (let at = 0; at < this.library.size; at += 1) if (tests.every((test) => test(at))) left.push(at);
    return left;
  }

  #tests() {
    const { clips, scores } = this.library;
    const tests = [];
    const text = byId("text").value.trim().toLowerCase();
    if (text) tests.push((at) => this.#words(at).includes(text));
    const verdict = byId("verdict").value;
    if (verdict) tests.push(this.#verdictTest(verdict));
    const reason = byId("reason").value;
    if (reason) tests.push((at) => clips.reasonSets[clips.reasonSet[at]].includes(reason));
    const score = chosenScore("score", scores);
    for (const [id, test] of [["least", (value, bound) => value >= bound], ["most", (value, bound) => value <= bound]]) {
      const bound = byId(id).valueAsNumber;
      if (score && !Number.isNaN(bound)) tests.push((at) => test(score.of[at], bound));
    }
    return tests;
  }

  #verdictTest(verdict) {
    const { gates } = this;
    return {
      kept: (at) => gates.keptByRun[at],
      dropped: (at) => !gates.keptByRun[at],
      gained: (at) => gates.keeps(at) && !gates.keptByRun[at],
      lost: (at) => !gates.keeps(at) && gates.keptByRun[at],
    }[verdict];
  }

  /** The text of a clip that is searched. */
  #words(at) {
    this.words ??= this.library.clips.id.map((id, place) => {
      const { clips } = this.library;
      return `${clips.caption[place] ?? ""}\n${clips.videos[clips.video[place]]}\n${id}`.toLowerCase();
    });
    return this.words[at];
  }

  #sorted(left) {
    const { clips, scores } = this.library;
    const by = byId("sort").value;
    const sign = byId("descending").checked ? -1 : 1;
    if (by === "") return sign === 1 ? left : left.reverse();
    const value = by === "length" ? clips.ms : chosenScore("sort", scores).of;
    const known = left.filter((at) => !Number.isNaN(value[at]));
    known.sort((one, other) => sign * (value[one] - value[other]) || one - other);
    return [...known, ...left.filter((at) => Number.isNaN(value[at]))];
  }

  #describe(answer) {
    const { library } = this;
    const { numClips } = (answer ?? this.shown).library.about;
    const seconds = answer ? answer.seconds : this.order.reduce((sum, at) => sum + library.clips.ms[at], 0) / 1000;
    const clips = answer ? numClips : this.order.length;
    const of = answer ? library.about.numClips : library.size;
    const more = answer && clips > this.order.length ? ` Here are the first ${countText(this.order.length)}.`
      : !answer && numClips > library.size ? ` This page holds a sample of ${countText(numClips)} clips.` : "";
    byId("shown").textContent = `${countText(clips)} of ${countText(of)} clips, ${lengthText(seconds)}.${more}`;
    byId("shown").dataset.clips = clips;
  }

  /** Thresholds have moved: clips may be newly kept or dropped. */
  judge() {
    if (["gained", "lost"].includes(byId("verdict").value)) this.refresh();
    else {
      if (this.shown.gates !== this.gates) this.shown.gates.follow(this.gates);
      this.#mark();
    }
  }

  /** Draw again what is on the screen. */
  render() {
    this.#rebuild();
  }

  #rebuild() {
    this.made.clear();
    const { root } = this.layout;
    root.tabIndex = 0;
    root.ariaLabel = "Clips: arrow keys move, Enter shows one";
    root.className = this.layout === this.layouts.grid ? "cards" : "rows";
    if (this.layout === this.layouts.grid) root.replaceChildren();
    this.root.replaceChildren(this.order.length ? root : element("p", "quiet", "No clip is left by these filters."));
    if (this.order.length) this.#fill(true);
  }

  #resized() {
    if (this.root.clientWidth !== this.measured && this.layout) this.#rebuild();
  }

  #scrolled() {
    const fast = Math.abs(this.root.scrollTop - this.lastTop) > SLOW;
    this.lastTop = this.root.scrollTop;
    this.#fill(!fast);
    clearTimeout(this.standing);
    this.standing = setTimeout(() => this.#reveal(), STANDS_MS);
  }

  /** Make what is on the screen, and take away what no longer is. */
  #fill(reveal) {
    const { layout, order, root } = this;
    this.measured = root.clientWidth;
    layout.measure(this.measured, order.length);
    const first = Math.max(0, Math.floor(root.scrollTop / layout.rowHeight) - 1) * layout.columns;
    const last = Math.min(order.length, (Math.ceil((root.scrollTop + root.clientHeight) / layout.rowHeight) + 1) * layout.columns);
    const there = new Map();
    for (let place = first; place < last; place += 1) there.set(place, this.made.get(place) ?? this.#make(place));
    this.made = there;
    layout.arrange([...there.values()].map((item) => item.element));
    this.#mark();
    if (reveal) this.#reveal();
  }

  #make(place) {
    const clip = clipAt(this.shown.library, this.order[place]);
    const made = this.layout.make(clip, place, this.order.length);
    made.id = `clip-${place}`;
    made.dataset.place = place;
    return { element: made, clip, revealed: false };
  }

  #reveal() {
    for (const item of this.made.values()) {
      if (!item.revealed) this.layout.reveal(item.element, item.clip);
      item.revealed = true;
    }
  }

  /** Mark which clips the thresholds of now keep, and which is active. */
  #mark() {
    for (const [place, { element: made, clip }] of this.made) {
      made.classList.toggle("dropped", !this.shown.gates.keeps(clip.at));
      made.classList.toggle("active", place === this.active);
      made.setAttribute("aria-selected", place === this.active);
    }
    if (this.made.has(this.active)) this.layout.root.setAttribute("aria-activedescendant", `clip-${this.active}`);
    else this.layout.root.removeAttribute("aria-activedescendant");
  }

  #clicked(event) {
    const made = event.target.closest("[data-place]");
    if (!made) return;
    this.active = Number(made.dataset.place);
    this.#mark();
    this.#open();
  }

  #pressed(event) {
    const { columns } = this.layout;
    const page = Math.max(1, Math.floor(this.root.clientHeight / this.layout.rowHeight)) * columns;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page,
      Home: -Infinity, End: Infinity };
    if (event.key in steps) this.#activate(this.active + steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.#open();
    else return;
    event.preventDefault();
  }

  #activate(place) {
    this.active = Math.max(0, Math.min(this.order.length - 1, place));
    const top = this.layout.top(this.active);
    const { root } = this;
    if (top < root.scrollTop) root.scrollTop = top;
    const bottom = top + 2 * this.layout.rowHeight; // with room for the head of a table
    if (bottom > root.scrollTop + root.clientHeight) root.scrollTop = bottom - root.clientHeight;
    this.#fill(true);
  }

  #open() {
    if (!this.order.length) return;
    const { library, gates } = this.shown;
    showClip(library, gates, clipAt(library, this.order[this.active]), (clip) => this.refresh(clip.id));
  }
}

/** Show one clip with its video, scores beside thresholds, caption and how to learn more of it. */
function showClip(library, gates, clip, showLike) {
  byId("clip-title").textContent = `Clip ${clip.id.slice(0, 8)}: ${gates.keptByRun[clip.at] ? "kept" : "dropped"}`;
  byId("clip-body").replaceChildren(playerOf(library, clip), factsOf(clip), scoresOf(library, gates, clip), queryOf(clip));
  const dialog = byId("clip");
  if (library.about.live) {
    const button = Object.assign(element("button", "", "Clips like this one"), { type: "button" });
    button.addEventListener("click", () => { dialog.close(); showLike(clip); });
    byId("clip-body").append(labelsOf(library, clip), button);
  }
  dialog.onclose = () => byId("clip-body").replaceChildren();
  dialog.showModal();
}

/** The clip's video; where it cannot be played, its preview. */
function playerOf(library, clip) {
  const frame = element("div", "frame large");
  const source = previewSource(library, clip.preview);
  const picture = element("img");
  picture.alt = "preview of the clip";
  const showPicture = () => {
    frame.replaceChildren(picture);
    showPreview(picture, source, byId("moving").checked);
  };
  if (!clip.file) {
    showPicture();
    return frame;
  }
  const video = element("video");
  Object.assign(video, { controls: true, muted: true, preload: "metadata", src: clip.file });
  video.setAttribute("aria-label", "the clip");
  video.addEventListener("error", showPicture);
  if (source) video.poster = source;
  frame.append(video);
  return frame;
}

function factsOf(clip) {
  const list = element("dl");
  const facts = { caption: clip.caption, id: clip.id, video: clip.video, reasons: clip.reasons.join(", "),
    seconds: `${clip.start === null ? "" : `from ${clip.start.toFixed(1)}, `}${clip.seconds.toFixed(2)} long` };
  for (const [name, text] of Object.entries(facts).filter(([, value]) => value)) {
    list.append(element("dt", "", name), element("dd", "", text));
  }
  return list;
}

function scoresOf(library, gates, clip) {
  const table = element("table", "wide");
  const head = element("tr");
  head.append(...["score", "value", "drops", "now"].map((name) => Object.assign(element("th", "", name), { scope: "col" })));
  const rows = library.scores.filter((score) => !Number.isNaN(score.of[clip.at])).map((score) => {
    const gate = gates.all.find((one) => one.score === score);
    const drops = gate ? `${gate.sign} ${numberText(gate.threshold)}` : "";
    const now = !gate ? "" : !gate.on ? "off" : gate.fails[clip.at] ? "fails" : "passes";
    const row = element("tr");
    row.append(Object.assign(element("th", "", score.about), { scope: "row" }), ...[numberText(score.of[clip.at]), drops, now].map((text) => element("td", "", text)));
    return row;
  });
  table.append(head, ...rows);
  return table;
}

function queryOf(clip) {
  const line = element("div", "copyable");
  const code = element("code", "", `SELECT * FROM verdicts WHERE clip_id = ${sqlText(clip.id)}`);
  const button = Object.assign(element("button", "", "Copy"), { type: "button" });
  button.addEventListener("click", () => copy(button, code));
  line.append(code, button);
  return line;
}
