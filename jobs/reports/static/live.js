"use strict";
// What a page that is served asks its server: counts over all clips, clips by filters, nearest clips, and labels.

/** Ask the server; its refusal is an error with its one line. */
async function askServer(path, question) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

/** Where the gates of a page stand, by the names of their scores. */
function movesOf(gates) {
  return Object.fromEntries(gates.all.map((gate) => [gate.score.name, { threshold: gate.threshold, on: gate.on }]));
}

/** The clips of an answer as a library with gates that stand as those of the page. */
function answeredLibrary(library, gates, answer) {
  const shown = {
    about: { ...library.about, numClips: answer.numClips },
    previews: library.previews,
    clips: answer.clips,
    size: answer.clips.id.length,
    scores: library.scores.map((score) => scoreOf(score, answer)),
  };
  const own = new Gates(shown);
  own.follow(gates);
  return { library: shown, gates: own, seconds: answer.seconds };
}

/** A score of the page with the numbers of an answer; none where no clip of it has the score. */
function scoreOf(score, answer) {
  const found = answer.scores.find((one) => one.name === score.name);
  const { gate } = score;
  return found ? withNumbers({ ...found, gate }) : { ...score, of: new Float64Array(answer.clips.id.length).fill(NaN) };
}

/** The labels of a clip, with what gives and takes them back. */
function labelsOf(library, clip) {
  const { live } = library.about;
  const root = element("section", "labels");
  const list = element("ul");
  root.append(element("h3", "", "Labels"), list);
  const show = (labels) => {
    list.replaceChildren(...labels.map((label) => labelItem(live, clip, label, show)));
    list.hidden = labels.length === 0;
  };
  if (!live.readOnly) root.append(labelForm(live, clip, show));
  askServer("labels", { clip_id: clip.id }).then(show, (error) => root.append(element("p", "note", error.message)));
  return root;
}

function labelItem(live, clip, { label, who }, show) {
  const item = element("li", "", `${label} (${who}) `);
  if (live.readOnly) return item;
  const button = Object.assign(element("button", "link", "take back"), { type: "button" });
  button.addEventListener("click", () => askServer("label", { clip_id: clip.id, label, who, remove: true }).then(show));
  item.append(button);
  return item;
}

function labelForm(live, clip, show) {
  const form = element("form", "toolbar");
  const [label, who] = [field(form, "Label", ""), field(form, "by", live.who)];
  form.append(element("button", "", "Give"));
  const trouble = element("p", "note");
  trouble.hidden = true;
  form.append(trouble);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      show(await askServer("label", { clip_id: clip.id, label: label.value, who: who.value }));
      noteLabel(label.value.trim());
      live.who = who.value;
      label.value = "";
      trouble.hidden = true;
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
  });
  return form;
}

/** A field of text with its name. */
function field(form, name, value) {
  const label = element("label", "", `${name} `);
  const input = Object.assign(element("input"), { type: "text", value, maxLength: 100, required: true });
  label.append(input);
  form.append(label);
  return input;
}

/** Let clips be filtered by a label that is new. */
function noteLabel(label) {
  const choice = byId("label");
  if (![...choice.options].some((option) => option.value === label)) choice.append(new Option(label, label));
}
