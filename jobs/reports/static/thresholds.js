"use strict";
// Which clips pass the gates at thresholds that the page moves: counted from the data of the page.

const FAILS = {
  "<": (score, threshold) => score < threshold,
  "<=": (score, threshold) => score <= threshold,
  ">": (score, threshold) => score > threshold,
  ">=": (score, threshold) => score >= threshold,
};

/** The gates of the page: where each stands, which clips fail it, and which clips fail for other reasons. */
class Gates {
  constructor(library) {
    this.library = library;
    this.all = library.scores.filter((score) => score.gate).map((score) => this.#gate(score));
    this.fixed = this.#fixed();
    this.failing = new Uint8Array(library.size);
    this.all.forEach((gate) => this.#judge(gate));
    this.#count();
    this.keptByRun = library.clips.reasonSet.map((set) => library.clips.reasonSets[set].length === 0);
  }

  /** A gate as the run had it. */
  #gate(score) {
    const { threshold, on } = score.gate;
    return { ...score.gate, score, threshold, on, of: { threshold, on }, fails: new Uint8Array(score.of.length) };
  }

  /** Whether each clip fails for a reason that no threshold of the page changes. */
  #fixed() {
    const moved = new Set(this.all.flatMap((gate) => [gate.reason, gate.missing]));
    const bySet = this.library.clips.reasonSets.map((reasons) => reasons.some((reason) => !moved.has(reason)));
    return Uint8Array.from(this.library.clips.reasonSet, (set) => bySet[set]);
  }

  /** Find the clips that fail a gate at its threshold. */
  #judge(gate) {
    const fails = FAILS[gate.sign];
    const unscored = gate.missing !== "" && this.library.about.dropsUnscored;
    gate.score.of.forEach((score, clip) => {
      gate.fails[clip] = Number.isNaN(score) ? unscored : fails(score, gate.threshold);
    });
  }

  /** Count for each clip the gates that are on and that it fails. */
  #count() {
    this.failing.fill(0);
    for (const gate of this.all.filter((one) => one.on)) {
      gate.fails.forEach((fails, clip) => { this.failing[clip] += fails; });
    }
  }

  /** Move a gate, and the switch of all gates that share its switch. */
  move(gate, threshold, on) {
    gate.threshold = threshold;
    this.#judge(gate);
    this.#switchGroup(gate).forEach((one) => { one.on = on; });
    this.#count();
  }

  /** Put every gate where those of other clips stand. */
  follow(others) {
    this.all.forEach((gate, place) => {
      const { threshold, on } = others.all[place];
      Object.assign(gate, { threshold, on });
      this.#judge(gate);
    });
    this.#count();
  }

  /** Put every gate where the run had it. */
  reset() {
    this.all.forEach((gate) => Object.assign(gate, gate.of));
    this.all.forEach((gate) => this.#judge(gate));
    this.#count();
  }

  #switchGroup(gate) {
    return this.all.filter((one) => one === gate || (one.switch !== null && one.switch === gate.switch));
  }

  isMoved(gate) {
    return gate.threshold !== gate.of.threshold || gate.on !== gate.of.on;
  }

  /** Whether a clip passes every gate that is on. */
  keeps(clip) {
    return this.fixed[clip] === 0 && this.failing[clip] === 0;
  }

  /** Clips and seconds that pass every gate that is on. */
  kept() {
    return this.#sum((clip) => this.keeps(clip));
  }

  /** Clips and seconds that the run kept. */
  keptBefore() {
    return this.#sum((clip) => this.keptByRun[clip]);
  }

  /** Clips and seconds of the page. */
  everything() {
    return this.#sum(() => true);
  }

  /** Clips and seconds that pass one gate, whatever the others say. */
  keptAlone(gate) {
    return this.#sum((clip) => gate.fails[clip] === 0);
  }

  /** Clips and seconds that pass one gate and the others, with the gate and those of its switch on. */
  keptTogether(gate) {
    const off = this.#switchGroup(gate).filter((one) => !one.on);
    return this.#sum((clip) => this.keeps(clip) && off.every((one) => one.fails[clip] === 0));
  }

  #sum(counts) {
    const { ms } = this.library.clips;
    let clips = 0, total = 0;
    for (let clip = 0; clip < ms.length; clip += 1) {
      if (counts(clip)) { clips += 1; total += ms[clip]; }
    }
    return { clips, seconds: total / 1000 };
  }

  /** SQL that counts the clips that pass one gate. */
  sqlAlone(gate) {
    return this.#sql([this.#passes(gate)]);
  }

  /** SQL that counts what `keptTogether` counts. */
  sqlTogether(gate) {
    const moved = this.all.flatMap((one) => [one.reason, one.missing]).filter(Boolean);
    const others = `size(array_except(reasons, array(${moved.map(sqlText).join(", ")}))) = 0`;
    const group = this.#switchGroup(gate);
    return this.#sql([others, ...this.all.filter((one) => one.on || group.includes(one)).map((one) => this.#passes(one))]);
  }

  #passes(gate) {
    return gate.passes.replaceAll("{t}", gate.threshold);
  }

  #sql(conditions) {
    const from = this.library.about.verdicts;
    const alias = from === "verdicts" ? from : `${from} AS verdicts`;
    return `SELECT count(*) AS clips, sum(duration_s) / 3600 AS hours FROM ${alias} WHERE ${conditions.join(" AND ")}`;
  }

  /** The options that make `filter` go by a gate as it stands; empty where it stands as the run had it. */
  settings(gate) {
    const found = [];
    if (gate.on !== gate.of.on) found.push(`--set ${gate.switch}=${gate.on}`);
    if (gate.threshold !== gate.of.threshold) found.push(`--set ${gate.set.replaceAll("{t}", gate.threshold)}`);
    return found;
  }

  /** The options of all gates. */
  allSettings() {
    return [...new Set(this.all.flatMap((gate) => this.settings(gate)))].join(" ");
  }
}

/** A text in SQL. */
function sqlText(text) {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
