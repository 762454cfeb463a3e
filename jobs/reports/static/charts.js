"use strict";
// Histograms of scores and small bars of earlier runs, drawn by uPlot.

const BINS = 40;

/** A color of the style sheet, as a canvas takes it. */
function color(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Where a number stands on the axis of a score, and the number at a place there: by its logarithm where most are small. */
function axisOf(score) {
  const least = Math.max(score.range[0], Number.MIN_VALUE);
  return score.isLogarithmic
    ? { place: (value) => Math.log10(Math.max(value, least)), value: (place) => 10 ** place }
    : { place: (value) => value, value: (place) => place };
}

/** The middles of the bins of a score's histogram, and the bin of each clip; what lies outside is in the outermost. */
function binned(score) {
  const axis = axisOf(score);
  const [low, high] = score.range.map(axis.place);
  const width = (high - low) / BINS || 1;
  const middles = Array.from({ length: BINS }, (_, bin) => low + (bin + 0.5) * width);
  const bins = Int8Array.from(score.of, (value) => (Number.isNaN(value) ? -1
    : Math.min(BINS - 1, Math.max(0, Math.floor((axis.place(value) - low) / width)))));
  return { axis, ends: [low, high], middles, bins };
}

/** How many clips each bin has, and how many of them are kept. */
function binCounts(bins, keeps) {
  const every = new Array(BINS).fill(0);
  const kept = new Array(BINS).fill(0);
  bins.forEach((bin, clip) => {
    if (bin < 0) return;
    every[bin] += 1;
    if (keeps(clip)) kept[bin] += 1;
  });
  return [every, kept];
}

/** A histogram of a score in an element, with the threshold of its gate; `draw` brings it up to date. */
class Histogram {
  constructor(element, score, gate, keeps) {
    Object.assign(this, { element, gate, keeps, ...binned(score) });
    new ResizeObserver(() => this.#fit()).observe(element);
  }

  /** Draw what is kept now, in the colors of now. */
  draw() {
    const data = [this.middles, ...binCounts(this.bins, this.keeps)];
    this.plot?.destroy();
    this.plot = new uPlot(this.#options(), data, this.element);
  }

  /** Draw what is kept now. */
  update() {
    this.plot?.setData([this.middles, ...binCounts(this.bins, this.keeps)]);
  }

  #fit() {
    const width = Math.floor(this.element.clientWidth);
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.plot.height });
  }

  #options() {
    const bars = uPlot.paths.bars({ size: [0.9, 100], align: 0 });
    const line = { stroke: color("quiet"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const series = (name) => ({ fill: color(name), stroke: color(name), width: 0, paths: bars, points: { show: false } });
    const [low, high] = this.ends;
    const edge = (high - low) / 50 || 0.5;
    return {
      width: Math.floor(this.element.clientWidth) || 300,
      height: 150,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, range: () => [low - edge, high + edge] }, y: { range: (_, least, most) => [0, most * 1.05 || 1] } },
      axes: [{ ...line, size: 26, values: (_, places) => places.map((place) => shortText(this.axis.value(place))) },
        { ...line, size: 46, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? countText(tick) : "")) }],
      series: [{}, series("dropped"), series("kept")],
      hooks: { draw: [(plot) => this.#drawThreshold(plot)] },
    };
  }

  #drawThreshold(plot) {
    if (!this.gate) return;
    const { ctx, bbox } = plot;
    const x = Math.round(plot.valToPos(this.axis.place(this.gate.threshold), "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.save();
    ctx.strokeStyle = color("threshold");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.setLineDash(this.gate.on ? [] : [5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  }
}

/** Small bars of a number in earlier runs and, in another color, in this one. */
function drawTrend(element) {
  const values = JSON.parse(element.dataset.values);
  const last = values.length - 1;
  const others = values.map((value, place) => (place === last ? null : value));
  const bars = uPlot.paths.bars({ size: [0.8, 100] });
  const series = (name) => ({ fill: color(name), stroke: color(name), width: 0, paths: bars, points: { show: false } });
  element.replaceChildren();
  new uPlot({
    width: 120,
    height: 32,
    padding: [0, 0, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    axes: [{ show: false }, { show: false }],
    scales: { x: { time: false, range: () => [-0.6, Math.max(last, 7) + 0.6] }, y: { range: (_, least, most) => [0, most || 1] } },
    series: [{}, series("quiet"), series("kept")],
  }, [values.map((_, place) => place), others, values.map((value, place) => (place === last ? value : null))], element);
}
