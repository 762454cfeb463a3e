"use strict";
// The data of the page: the clips as columns, decompressed from the blocks at its end.

/** The JSON of a block of the page that is compressed by gzip and written in base64. */
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** The JSON of a block of the page that is as it is. */
function plain(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** Everything that the page knows: `about`, the columns of `clips`, and `scores` with a number per clip. */
async function loadLibrary() {
  const [clips, scores, captions] = await Promise.all(["data-clips", "data-scores", "data-captions"].map(unpacked));
  return {
    about: plain("data-about"),
    previews: plain("data-previews"),
    clips: { ...clips, caption: captions },
    size: clips.id.length,
    scores: scores.map(withNumbers),
  };
}

/** A score with `of`, the number of each clip: NaN where it has none. */
function withNumbers(score) {
  const of = new Float64Array(score.index.length);
  score.index.forEach((place, clip) => { of[clip] = place < 0 ? NaN : score.values[place]; });
  return { ...score, of };
}

/** One clip as an object. */
function clipAt(library, at) {
  const { clips, about } = library;
  const start = clips.start[at];
  return {
    at,
    id: clips.id[at],
    video: clips.videos[clips.video[at]],
    start: start === null ? null : start / 10,
    seconds: clips.ms[at] / 1000,
    reasons: clips.reasonSets[clips.reasonSet[at]],
    caption: clips.caption[at],
    preview: mediaPath(clips.previewNames[clips.preview[at]], clips.id[at]),
    file: address(about.media, mediaPath(clips.fileNames[clips.file[at]], clips.id[at])),
  };
}

/** The path of a clip's file below the media folder; the names have * for its id and what comes before it. */
function mediaPath(name, id) {
  return name === null ? null : name.replace("*", () => `${id.slice(0, 2)}/${id}`);
}

/** The address of a path below the media folder. */
function address(media, path) {
  return path === null || media === null ? null : media + path.split("/").map(encodeURIComponent).join("/");
}

/** Where a preview is shown from: the page itself, the media folder, or nowhere. */
function previewSource(library, path) {
  return (path && library.previews[path]) || address(library.about.media, path || null);
}

/** A whole number with its thousands set apart. */
function countText(number) {
  return Math.round(number).toLocaleString("en-US");
}

/** Seconds of video in the unit that gives a handy number. */
function lengthText(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${(seconds / 60).toFixed(1)} min`;
  return `${(seconds / 3600).toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 })} h`;
}

/** A number of three significant digits, or more before the point. */
function numberText(number) {
  if (Number.isNaN(number)) return "–";
  return Math.abs(number) >= 1000 ? countText(number) : String(Number(number.toPrecision(3)));
}

/** A number of two significant digits, with an exponent where it would be long. */
function shortText(number) {
  if (number === 0) return "0";
  if (Math.abs(number) >= 1000) return countText(number);
  const text = String(Number(number.toPrecision(2)));
  return text.length > 6 ? number.toExponential(0).replace("e-", "e−") : text;
}

/** The name of a video: the last part of its address. */
function videoName(video) {
  return video.slice(video.lastIndexOf("/") + 1) || video;
}
