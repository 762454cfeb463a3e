"use strict";
// What the page shows and does: its sections are filled in when its data is there.

const byId = (id) => document.getElementById(id);

/** Call a function once per frame, however often it is asked for. */
function oncePerFrame(work) {
  let waits = false;
  return () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => { waits = false; work(); });
  };
}

/** Copy the text of an element, or select it where copying is not allowed. */
async function copy(button, element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(element);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

/** Clips and their length as text; of a sample, about how many there are in all. */
function amountText(library, { clips, seconds }) {
  const scale = library.size ? library.about.numClips / library.size : 1;
  const about = scale > 1 ? "about " : "";
  return `${about}${countText(clips * scale)} clip${clips * scale === 1 ? "" : "s"}, ${lengthText(seconds * scale)}`;
}

/** The panel of a score: its histogram, and the switch and slider of its gate. */
class ScorePanel {
  constructor(library, gates, score, moved) {
    this.library = library;
    this.gates = gates;
    this.gate = gates.all.find((gate) => gate.score === score) ?? null;
    this.score = score;
    this.moved = moved;
    this.root = byId("score-panel").content.firstElementChild.cloneNode(true);
    this.find = (selector) => this.root.querySelector(selector);
    this.find("h3").textContent = score.about;
    this.histogram = new Histogram(this.find(".chart"), score, this.gate, (clip) => gates.keeps(clip));
    this.gate ? this.#prepareGate() : this.find(".gate").remove();
    this.root.querySelectorAll(".copyable").forEach((line) => {
      const [code, button] = line.children;
      button.addEventListener("click", () => copy(button, code));
    });
  }

  #prepareGate() {
    const { gate, score } = this;
    this.slider = this.find("input[type=range]");
    this.switch = this.find("input[type=checkbox]");
    this.slider.max = score.stops.length - 1;
    this.slider.setAttribute("aria-label", `threshold of ${score.about}`);
    this.find(".switch span").textContent = gate.switch ?? `gate ${gate.reason}`;
    this.switch.disabled = gate.switch === null;
    this.slider.addEventListener("input", () => this.#move(score.stops[this.slider.value], true));
    this.switch.addEventListener("change", () => this.#move(gate.threshold, this.switch.checked));
  }

  #move(threshold, on) {
    this.gates.move(this.gate, threshold, on);
    this.moved();
  }

  /** Show the gate as it stands. */
  update() {
    this.histogram.update();
    this.#describe();
    if (!this.gate) return;
    const { gate, gates, library } = this;
    this.slider.value = this.score.stops.indexOf(gate.threshold);
    this.switch.checked = gate.on;
    this.find(".threshold span").textContent = `drops ${gate.sign} ${numberText(gate.threshold)}`;
    this.show(library, gates.keptAlone(gate), gates.keptTogether(gate));
    this.find(".alone").textContent = gates.sqlAlone(gate);
    this.find(".together").textContent = gates.sqlTogether(gate);
    this.find(".set").textContent = gates.settings(gate).join(" ") || "as the run had it";
  }

  /** Show how many clips the gate keeps alone and with the others. */
  show(library, alone, together) {
    const text = `alone keeps ${amountText(library, alone)}; with the other gates ${amountText(library, together)}`;
    this.find(".effect").textContent = text;
    this.slider.setAttribute("aria-valuetext", `${numberText(this.gate.threshold)}: ${text}`);
    Object.assign(this.root.dataset, { aloneClips: alone.clips, aloneSeconds: alone.seconds,
      togetherClips: together.clips, togetherSeconds: together.seconds });
  }

  #describe() {
    const [low, high] = this.score.range;
    const threshold = this.gate ? `; threshold ${numberText(this.gate.threshold)}` : "";
    this.find(".chart").setAttribute("aria-label",
      `histogram of ${this.score.about}, from ${numberText(low)} to ${numberText(high)}${threshold}`);
  }
}

/** The section of scores: a panel per score, and what all thresholds together would keep. */
class Scores {
  constructor(library, gates, moved) {
    this.library = library;
    this.gates = gates;
    const changed = oncePerFrame(() => { this.update(); moved(); });
    this.panels = library.scores.map((score) => new ScorePanel(library, gates, score, changed));
    byId("score-list").replaceChildren(...this.panels.map((panel) => panel.root));
    byId("reset").addEventListener("click", () => { gates.reset(); changed(); });
    this.draw();
  }

  /** Draw the histograms in the colors of now. */
  draw() {
    this.panels.forEach((panel) => panel.histogram.draw());
    this.update();
  }

  /** Show every gate as it stands, and what all of them keep. */
  update() {
    this.panels.forEach((panel) => panel.update());
    const { library, gates } = this;
    this.#showOutcome(library, gates.kept());
    byId("outcome-set").textContent = gates.allSettings();
    byId("outcome-set-line").hidden = !gates.allSettings();
    byId("reset").disabled = !gates.all.some((gate) => gates.isMoved(gate));
    if (library.about.live && library.size < library.about.numClips) this.#countAll();
  }

  #showOutcome(library, now) {
    const { gates } = this;
    byId("outcome-text").textContent = `These thresholds keep ${amountText(library, now)}, of ${amountText(this.library, gates.everything())}; `
      + `the run kept ${amountText(this.library, gates.keptBefore())}.`;
    Object.assign(byId("outcome-text").dataset, { clips: now.clips, seconds: now.seconds });
  }

  /** Show the numbers of all clips, which the server counts, in place of those of the page's sample. */
  #countAll() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(async () => {
      const asked = this.waiting;
      const counts = await askServer("counts", { moves: movesOf(this.gates) });
      if (asked !== this.waiting) return; // a threshold has moved meanwhile
      const whole = { about: { numClips: 1 }, size: 1 };
      for (const panel of this.panels.filter((one) => one.gate)) {
        panel.show(whole, counts[`${panel.score.name} alone`], counts[`${panel.score.name} together`]);
      }
      this.#showOutcome(whole, counts.kept);
    }, 200);
  }
}

/** Let the choice of colors decide, and draw again what canvases hold. */
function prepareTheme(draw) {
  byId("theme").addEventListener("change", (event) => {
    document.documentElement.style.colorScheme = event.target.value;
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

/** Show previews moving or still; still where the reader asks the system for less motion. */
function prepareMotion(changed) {
  byId("moving").checked = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("moving").addEventListener("change", changed);
}

/** The pictures of the groups of duplicates. */
function showGroups(library) {
  for (const picture of document.querySelectorAll("#duplicates img")) {
    showPreview(picture, previewSource(library, picture.dataset.preview), byId("moving").checked);
  }
}

function prepareCopies() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(button, byId(button.dataset.copy)));
  }
}

async function main() {
  const library = await loadLibrary();
  const gates = new Gates(library);
  const sheet = new Sheet(library, gates);
  const scores = new Scores(library, gates, () => sheet.judge());
  const drawTrends = () => document.querySelectorAll(".trend").forEach(drawTrend);
  drawTrends();
  prepareTheme(() => { scores.draw(); drawTrends(); });
  prepareMotion(() => { showGroups(library); sheet.render(); });
  prepareCopies();
  showGroups(library);
  await sheet.refresh();
  for (const button of document.querySelectorAll("[data-reason]")) {
    button.addEventListener("click", () => sheet.showReason(button.dataset.reason));
  }
  document.documentElement.dataset.ready = "yes";
}

main().catch((error) => {
  const trouble = byId("trouble");
  trouble.hidden = false;
  trouble.textContent = `The data of this page cannot be shown: ${error.message}. It needs a browser of 2023 or newer.`;
  throw error;
});
